#compdef ninc
# Completion of ninc's command line.
function _ninc_complete() {
    local -a candidates dirs open others
    local candidate value
    candidates=("${(@f)$(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) NINC_COMPLETE=zsh \
        ninc -- "${(@Q)words}" 2> /dev/null)}")
    for candidate in $candidates; do
        value="${candidate%%:*}"
        if [[ "$value" == */ ]]; then
            dirs+=("${value%/}${candidate#$value}")
        elif [[ "$value" == *= ]]; then
            open+=("$candidate")
        else
            others+=("$candidate")
        fi
    done
    [[ -n $dirs ]] && _describe -V 'values' dirs -S '/' -r '/'
    # A value follows at once.
    [[ -n $open ]] && _describe -V 'values' open -S ''
    [[ -n $others ]] && _describe -V 'values' others
}

compdef _ninc_complete ninc
