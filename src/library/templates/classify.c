/* Classifies pictures with the network @name@: PNG (8 bits a channel, not interlaced) or binary PPM/PGM, of exactly
 * @width@ x @height@ pixels.
 *
 *   cc -O2 classify.c lib@name@.a -lpthread -o classify
 *   ./classify @name@.safetensors picture.png
 *
 * With --raw in front, the numbers of the result are printed as their bits, which loses nothing. */
#include "@name@.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pictures: width, height, channels (1 or 3), pixels row by row */

typedef struct {
    int width, height, channels;
    uint8_t *pixels;
} picture;

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    uint8_t *bytes = NULL;
    size_t room = 0, got = 0;
    for (;;) {
        if (got == room) {
            room = room ? 2 * room : 65536;
            uint8_t *more = room <= ((size_t)1 << 28) ? realloc(bytes, room) : NULL;
            if (!more) {
                free(bytes);
                fclose(file);
                return NULL;
            }
            bytes = more;
        }
        size_t n = fread(bytes + got, 1, room - got, file);
        if (n == 0) break;
        got += n;
    }
    fclose(file);
    *size = got;
    return bytes;
}

/* Deflate (RFC 1951): bits from the lowest, codes by their lengths. */

typedef struct {
    const uint8_t *in;
    size_t size, at;
    unsigned bit;
    uint8_t *out;
    size_t room, length;
    int broken;
} inflater;

typedef struct {
    uint16_t count[16], symbol[288];
} codes;

static unsigned bits(inflater *s, unsigned n) {
    unsigned value = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s->at >= s->size) {
            s->broken = 1;
            return 0;
        }
        value |= (unsigned)(s->in[s->at] >> s->bit & 1) << i;
        if (++s->bit == 8) {
            s->bit = 0;
            s->at++;
        }
    }
    return value;
}

static void make_codes(codes *c, const uint8_t *lengths, int n) {
    uint16_t next[17] = {0};
    memset(c, 0, sizeof *c);
    for (int i = 0; i < n; i++) c->count[lengths[i]]++;
    c->count[0] = 0;
    for (int i = 1; i < 16; i++) next[i + 1] = (uint16_t)(next[i] + c->count[i]);
    for (int i = 0; i < n; i++)
        if (lengths[i]) c->symbol[next[lengths[i]]++] = (uint16_t)i;
}

static int decode(inflater *s, const codes *c) {
    int code = 0, first = 0, index = 0;
    for (int length = 1; length < 16; length++) {
        code |= (int)bits(s, 1);
        if (s->broken) return -1;
        int count = c->count[length];
        if (code - first < count) return c->symbol[index + code - first];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    s->broken = 1;
    return -1;
}

static void put(inflater *s, uint8_t byte) {
    if (s->length < s->room) s->out[s->length++] = byte;
    else s->broken = 1;
}

static void block(inflater *s, const codes *literals, const codes *distances) {
    static const uint16_t base[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83,
                                      99, 115, 131, 163, 195, 227, 258};
    static const uint8_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t far[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
                                     1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    while (!s->broken) {
        int symbol = decode(s, literals);
        if (symbol < 0 || symbol == 256) return;
        if (symbol < 256) {
            put(s, (uint8_t)symbol);
            continue;
        }
        symbol -= 257;
        if (symbol > 28) break;
        size_t length = base[symbol] + bits(s, extra[symbol]);
        int d = decode(s, distances);
        if (d < 0 || d > 29) break;
        size_t distance = far[d] + bits(s, d < 4 ? 0 : (unsigned)(d / 2 - 1));
        if (distance > s->length) break;
        while (length-- && !s->broken) put(s, s->out[s->length - distance]);
    }
    s->broken = 1;
}

static void inflate_all(inflater *s) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    unsigned last = 0;
    while (!last && !s->broken) {
        uint8_t lengths[320] = {0};
        codes literals, distances;
        last = bits(s, 1);
        unsigned kind = bits(s, 2);
        if (kind == 0) {
            if (s->bit) {
                s->bit = 0;
                s->at++;
            }
            unsigned count = bits(s, 16);
            bits(s, 16);
            while (count-- && !s->broken) put(s, (uint8_t)bits(s, 8));
            continue;
        }
        if (kind == 1) {
            for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
            make_codes(&literals, lengths, 288);
            memset(lengths, 5, 30);
            make_codes(&distances, lengths, 30);
        } else if (kind == 2) {
            unsigned n = bits(s, 5) + 257, d = bits(s, 5) + 1, c = bits(s, 4) + 4, i = 0;
            for (unsigned k = 0; k < c; k++) lengths[order[k]] = (uint8_t)bits(s, 3);
            make_codes(&literals, lengths, 19);
            memset(lengths, 0, sizeof lengths);
            while (i < n + d && !s->broken) {
                int symbol = decode(s, &literals);
                unsigned repeat = 1;
                uint8_t value = (uint8_t)symbol;
                if (symbol > 15) {
                    value = symbol == 16 && i > 0 ? lengths[i - 1] : 0;
                    repeat = symbol == 16 ? 3 + bits(s, 2) : symbol == 17 ? 3 + bits(s, 3) : 11 + bits(s, 7);
                }
                if (symbol < 0 || i + repeat > n + d || n > 286) {
                    s->broken = 1;
                    break;
                }
                while (repeat--) lengths[i++] = value;
            }
            if (s->broken) return;
            make_codes(&literals, lengths, (int)n);
            make_codes(&distances, lengths + n, (int)d);
        } else {
            s->broken = 1;
            return;
        }
        block(s, &literals, &distances);
    }
}

static uint32_t big(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int paeth(int a, int b, int c) {
    int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

static const char *read_png(const uint8_t *file, size_t size, picture *out) {
    if (size < 33 || memcmp(file + 12, "IHDR", 4)) return "is a damaged PNG";
    uint32_t width = big(file + 16), height = big(file + 20);
    int kind = file[25];
    if (file[24] != 8 || file[28] || (kind != 0 && kind != 2))
        return "is not a PNG of 8-bit grey or RGB without interlacing";
    if (!width || !height || width > 4096 || height > 4096) return "is too large";
    size_t channels = kind == 2 ? 3 : 1, row = width * channels;
    uint8_t *data = malloc(size), *rows = malloc((row + 1) * height), *pixels = malloc(row * height);
    const char *wrong = "is a damaged PNG";
    if (data && rows && pixels) {
        size_t length = 0, at = 8;
        while (at + 12 <= size) {
            size_t chunk = big(file + at);
            if (chunk > size - at - 12) break;
            if (!memcmp(file + at + 4, "IDAT", 4)) {
                memcpy(data + length, file + at + 8, chunk);
                length += chunk;
            }
            at += chunk + 12;
        }
        inflater s = {data, length, 2, 0, rows, (row + 1) * height, 0, 0};
        inflate_all(&s);
        if (!s.broken && s.length == s.room) {
            wrong = NULL;
            for (size_t y = 0; y < height; y++) {
                int filter = rows[y * (row + 1)];
                for (size_t i = 0; i < row; i++) {
                    int a = i >= channels ? pixels[y * row + i - channels] : 0;
                    int b = y ? pixels[(y - 1) * row + i] : 0;
                    int c = y && i >= channels ? pixels[(y - 1) * row + i - channels] : 0;
                    int by = filter == 1 ? a : filter == 2 ? b : filter == 3 ? (a + b) / 2 : 0;
                    if (filter == 4) by = paeth(a, b, c);
                    pixels[y * row + i] = (uint8_t)(rows[y * (row + 1) + 1 + i] + by);
                }
            }
        }
    }
    free(data);
    free(rows);
    if (wrong) free(pixels);
    else *out = (picture){(int)width, (int)height, (int)channels, pixels};
    return wrong;
}

static const char *read_ppm(const uint8_t *file, size_t size, picture *out) {
    int width, height, most, start = 0;
    char head[64] = {0};
    memcpy(head, file, size < 63 ? size : 63);
    if (sscanf(head + 2, "%d %d %d%n", &width, &height, &most, &start) != 3 || most != 255) return "is no PPM of bytes";
    int channels = head[1] == '6' ? 3 : 1;
    size_t first = (size_t)start + 3;
    if (width < 1 || height < 1 || width > 4096 || height > 4096) return "is too large";
    size_t count = (size_t)width * (size_t)height * (size_t)channels;
    if (first > size || size - first < count) return "is too short";
    uint8_t *pixels = malloc(count);
    if (!pixels) return "does not fit in memory";
    memcpy(pixels, file + first, count);
    *out = (picture){width, height, channels, pixels};
    return NULL;
}

static const char *read_picture(const char *path, picture *out) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
    size_t size = 0;
    uint8_t *file = read_file(path, &size);
    if (!file) return "cannot be read";
    const char *wrong = "is neither PNG nor PPM";
    if (size >= 8 && !memcmp(file, png, 8)) wrong = read_png(file, size, out);
    else if (size >= 3 && file[0] == 'P' && (file[1] == '5' || file[1] == '6')) wrong = read_ppm(file, size, out);
    free(file);
    return wrong;
}

int main(int count, char **values) {
    int raw = count > 1 && !strcmp(values[1], "--raw");
    if (count < 3 + raw) {
        fprintf(stderr, "usage: %s [--raw] WEIGHTS PICTURE...\n", values[0]);
        return 2;
    }
    char error[256];
    @name@ *network = NULL;
    if (@name@_create(&network, values[1 + raw], error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    int failed = 0;
    for (int i = 2 + raw; i < count; i++) {
        picture p = {0};
        const char *wrong = read_picture(values[i], &p);
        if (!wrong && (p.width != @NAME@_WIDTH || p.height != @NAME@_HEIGHT || p.channels != @NAME@_CHANNELS))
            wrong = "has another size than @width@ x @height@ or other channels than @channels@";
        float result[@NAME@_OUTPUT_SIZE];
        int status = wrong ? 0 : @name@_run_u8(network, 1, p.pixels, result);
        if (status) wrong = @name@_message(status);
        free(p.pixels);
        if (wrong) {
            fprintf(stderr, "%s: %s\n", values[i], wrong);
            failed = 1;
            continue;
        }
        int best = 0;
        for (int c = 0; c < @NAME@_OUTPUT_SIZE; c++) {
            uint32_t bits;
            memcpy(&bits, &result[c], 4);
            if (raw) printf("%08x\n", bits);
            if (result[c] > result[best]) best = c;
        }
        const char *name = @name@_class_name(best);
        if (!raw) printf("%s: %s (class %d)\n", values[i], name ? name : "class", best);
    }
    @name@_destroy(network);
    return failed;
}
