# Completion of ninc's command line. The program reads the line itself, as bash would; its first answer says whether the
# others are names of files, which bash quotes and shows in its own way.
_ninc_complete() {
    local candidate kind=
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [[ -z $kind ]]; then
            kind=$candidate
        else
            COMPREPLY+=("$candidate")
        fi
    done < <(NINC_COMPLETE=bash NINC_LINE="${COMP_LINE:0:COMP_POINT}" NINC_BREAKS="$COMP_WORDBREAKS" \
        ninc -- 2> /dev/null)
    if [[ $kind == files ]]; then
        compopt -o filenames +o nospace 2> /dev/null
    elif [[ ${COMPREPLY-} != *[=/:] ]]; then
        compopt +o nospace 2> /dev/null
    fi
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _ninc_complete ninc
else
    complete -o nospace -o bashdefault -F _ninc_complete ninc
fi
