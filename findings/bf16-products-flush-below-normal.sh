#!/usr/bin/env bash
# VDPBF16PS and TDPBF16PS on sums just below 2^-126, the least normal float32: they give 0 where `fmaf`, followed by
# "denormal results become 0", gives 2^-126.
#
# Seen on: an Intel Xeon with AMX (Emerald Rapids), gcc 12; any processor with AVX512_BF16 runs the first half.
# Input: an accumulator of 2^-126 and one product of -t · 2^-151, for t = 0.5, 1, 1.25, 1.5, 1.75 and 2.
# A good engineer expects: the manual says that denormal results are flushed to zero and that sums round to nearest even;
# so does an emulator that computes `fmaf` and clears what is subnormal. `fmaf` rounds to multiples of 2^-149 there, and
# -1.25 · 2^-151 rounds up to 2^-126, which is normal and stays.
# Seen: from t = 1.25 on the instructions give 0. They look at the sum rounded to 24 bits as if exponents had no end
# (2^-126 - 2^-150 for t = 1.25), find it below 2^-126 and flush it; t = 1 is a tie, goes up and stays. Random tests
# with ordinary exponents never meet this: one in a hundred thousand whole tiles of tiny numbers did.
# For ninc: the interpreter, which defines the bits of tiles, decides as the instructions do; a test holds these values.
set -euo pipefail
if ! grep -qw avx512_bf16 /proc/cpuinfo; then
    echo "this processor has no AVX512_BF16: nothing to see here"
    exit 3
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat > "$place/flush.c" <<'C'
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t bits(float x) { uint32_t w; memcpy(&w, &x, 4); return w; }

static float vector(float a, float b, float c) {
    float out[16];
    __m512i x = _mm512_set1_epi32(bits(a) >> 16), y = _mm512_set1_epi32(bits(b) >> 16);
    _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_set1_ps(c), (__m512bh)x, (__m512bh)y));
    return out[0];
}

struct __attribute__((packed)) config { uint8_t palette, start, rest[14]; uint16_t bytes[16]; uint8_t rows[16]; };

/* The first pair of terms makes 2^-126, the second one is the product. */
static float tile(float a, float b) {
    static struct config config;
    static uint32_t x[16][16], y[16][16], sums[16][16];
    config.palette = 1;
    for (int i = 0; i < 3; i++) config.bytes[i] = 64, config.rows[i] = 16;
    x[0][0] = y[0][0] = bits(0x1p-63f) >> 16;
    x[0][1] = bits(a) >> 16, y[1][0] = bits(b) >> 16;
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
    _tile_zero(0);
    _tile_loadd(1, x, 64);
    _tile_loadd(2, y, 64);
    _tile_dpbf16ps(0, 1, 2);
    __asm__ volatile("" : : : "memory");
    _tile_stored(0, sums, 64);
    __asm__ volatile("tilerelease" : : : "memory");
    float sum;
    memcpy(&sum, &sums[0][0], 4);
    return sum;
}

int main(void) {
    int tiles = syscall(SYS_arch_prctl, 0x1023, 18) == 0, wrong = 0;
    const float parts[] = {0.5f, 1, 1.25f, 1.5f, 1.75f, 2};
    for (int i = 0; i < 6; i++) {
        float a = -parts[i] * 0x1p-76f, b = 0x1p-75f, least = 0x1p-126f;
        float plain = fmaf(a, b, least), got = vector(a, b, least), expected = parts[i] > 1 ? 0 : least;
        wrong |= got != expected || (tiles && tile(a, b) != expected);
        printf("t = %.2f: fmaf %a, the instruction%s %a\n", parts[i], plain, tiles ? "s" : "", got);
    }
    /* The point: fmaf keeps a normal number where the instructions give 0. */
    wrong |= fmaf(-1.25f * 0x1p-76f, 0x1p-75f, 0x1p-126f) != 0x1p-126f;
    return wrong;
}
C
gcc -O1 -ffp-contract=off -mfma -mavx512f -mavx512bf16 -mamx-tile -mamx-bf16 "$place/flush.c" -o "$place/flush" -lm
"$place/flush"
