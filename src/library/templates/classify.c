/* Classifies pictures of any size with the network @name@: PNG, JPEG, and binary PPM or PGM.
 *
 *   @compile@
 *   ./classify @weights@picture.png
 *
 * Without libpng or libjpeg leave out -DPNG and -lpng, or -DJPEG and -ljpeg.
 *
 * With --raw in front, the numbers of the result are printed as their bits, which loses nothing. */
#include "@name@.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pictures: width, height, channels (1 to 4), how they are turned (as EXIF counts), pixels row by row */

typedef struct {
    int width, height, channels, orientation;
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

#if defined(PNG) || defined(JPEG)
/* EXIF: the orientation in the first directory of a TIFF header; 1 where there is none. */
static int orientation_of(const uint8_t *tiff, size_t size) {
    if (size < 8 || (memcmp(tiff, "II*", 4) && memcmp(tiff, "MM\0*", 4))) return 1;
    int big = tiff[0] == 'M';
#define TWO(at) ((uint32_t)(big ? tiff[at] << 8 | tiff[(at) + 1] : tiff[(at) + 1] << 8 | tiff[at]))
#define FOUR(at) (big ? TWO(at) << 16 | TWO((at) + 2) : TWO((at) + 2) << 16 | TWO(at))
    size_t at = FOUR(4);
    if (at > size - 2) return 1;
    for (size_t count = TWO(at), entry = at + 2; count > 0 && entry + 12 <= size; count--, entry += 12)
        if (TWO(entry) == 0x112) return TWO(entry + 8) >= 1 && TWO(entry + 8) <= 8 ? (int)TWO(entry + 8) : 1;
#undef TWO
#undef FOUR
    return 1;
}
#endif

#ifdef PNG
#include <png.h>

typedef struct {
    const uint8_t *at;
    size_t left;
} source;

static void take(png_structp png, png_bytep to, size_t count) {
    source *from = png_get_io_ptr(png);
    if (count > from->left) png_error(png, "cut short");
    memcpy(to, from->at, count);
    from->at += count;
    from->left -= count;
}

/* Rows live outside, because an error jumps back over this function's variables. */
static const char *decode_png(png_structp png, png_infop info, const uint8_t *file, size_t size, picture *out,
                              png_bytep **rows) {
    if (setjmp(png_jmpbuf(png))) return "is a damaged PNG";
    source from = {file, size};
    png_set_read_fn(png, &from, take);
    png_read_info(png, info);
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    out->width = (int)png_get_image_width(png, info);
    out->height = (int)png_get_image_height(png, info);
    out->channels = png_get_channels(png, info);
    if (out->width > 32768 || out->height > 32768) return "is too large";
    size_t row = png_get_rowbytes(png, info);
    out->pixels = malloc(row * (size_t)out->height);
    *rows = malloc(sizeof **rows * (size_t)out->height);
    if (!out->pixels || !*rows) return "does not fit in memory";
    for (int y = 0; y < out->height; y++) (*rows)[y] = out->pixels + (size_t)y * row;
    png_read_image(png, *rows);
    png_read_end(png, info);
    png_uint_32 length = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(png, info, &length, &exif) && exif) out->orientation = orientation_of(exif, length);
    return NULL;
}

static const char *read_png(const uint8_t *file, size_t size, picture *out) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    png_bytep *rows = NULL;
    const char *wrong = info ? decode_png(png, info, file, size, out, &rows) : "does not fit in memory";
    free(rows);
    png_destroy_read_struct(&png, &info, NULL);
    return wrong;
}
#endif

#ifdef JPEG
#include <jpeglib.h>
#include <setjmp.h>

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf back;
} jpeg_errors;

static void give_up(j_common_ptr info) {
    longjmp(((jpeg_errors *)info->err)->back, 1);
}

static void say_nothing(j_common_ptr info) {
    (void)info;
}

static const char *decode_jpeg(struct jpeg_decompress_struct *info, jpeg_errors *errors, const uint8_t *file,
                               size_t size, picture *out) {
    if (setjmp(errors->back)) return "is a damaged JPEG";
    jpeg_create_decompress(info);
    jpeg_mem_src(info, (unsigned char *)file, size);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(info, TRUE);
    for (jpeg_saved_marker_ptr m = info->marker_list; m; m = m->next)
        if (m->data_length > 6 && !memcmp(m->data, "Exif\0", 6))
            out->orientation = orientation_of(m->data + 6, m->data_length - 6);
    info->out_color_space = info->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(info);
    out->width = (int)info->output_width;
    out->height = (int)info->output_height;
    out->channels = info->output_components;
    if (out->width > 32768 || out->height > 32768) return "is too large";
    size_t row = (size_t)out->width * (size_t)out->channels;
    out->pixels = malloc(row * (size_t)out->height);
    if (!out->pixels) return "does not fit in memory";
    while (info->output_scanline < info->output_height) {
        JSAMPROW to = out->pixels + info->output_scanline * row;
        jpeg_read_scanlines(info, &to, 1);
    }
    jpeg_finish_decompress(info);
    /* Missing data are filled with grey: that is a warning there, and no picture here. */
    return errors->base.num_warnings ? "is a damaged JPEG" : NULL;
}

static const char *read_jpeg(const uint8_t *file, size_t size, picture *out) {
    struct jpeg_decompress_struct info = {0};
    jpeg_errors errors;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = give_up;
    errors.base.output_message = say_nothing;
    const char *wrong = decode_jpeg(&info, &errors, file, size, out);
    jpeg_destroy_decompress(&info);
    return wrong;
}
#endif

static const char *read_ppm(const uint8_t *file, size_t size, picture *out) {
    int width, height, most, start = 0;
    char head[64] = {0};
    memcpy(head, file, size < 63 ? size : 63);
    if (sscanf(head + 2, "%d %d %d%n", &width, &height, &most, &start) != 3 || most != 255) return "is not a PPM of bytes";
    int channels = head[1] == '6' ? 3 : 1;
    size_t first = (size_t)start + 3;
    if (width < 1 || height < 1 || width > 32768 || height > 32768) return "is too large";
    size_t count = (size_t)width * (size_t)height * (size_t)channels;
    if (first > size || size - first < count) return "is cut short";
    uint8_t *pixels = malloc(count);
    if (!pixels) return "does not fit in memory";
    memcpy(pixels, file + first, count);
    *out = (picture){width, height, channels, 1, pixels};
    return NULL;
}

static const char *read_picture(const char *path, picture *out) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
    size_t size = 0;
    uint8_t *file = read_file(path, &size);
    if (!file) return "cannot be read";
    const char *wrong = "is not a picture in a format that this program was compiled for";
    (void)png;
#ifdef PNG
    if (size >= 8 && !memcmp(file, png, 8)) wrong = read_png(file, size, out);
#endif
#ifdef JPEG
    if (size >= 2 && file[0] == 0xff && file[1] == 0xd8) wrong = read_jpeg(file, size, out);
#endif
    if (size >= 3 && file[0] == 'P' && (file[1] == '5' || file[1] == '6')) wrong = read_ppm(file, size, out);
    free(file);
    return wrong;
}

int main(int count, char **values) {
    int raw = count > 1 && !strcmp(values[1], "--raw");
    int first = @first@ + raw;
    if (count <= first) {
        fprintf(stderr, "usage: %s [--raw] @WEIGHTS@PICTURE...\n", values[0]);
        return 2;
    }
    char error[256];
    struct @name@ *network = NULL;
/*external<*/
    if (@name@_create(&network, values[1 + raw], error, sizeof error)) {
/*>external*/
/*embedded<*/
    if (@name@_create_embedded(&network, error, sizeof error)) {
/*>embedded*/
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    int failed = 0;
    for (int i = first; i < count; i++) {
        picture p = {0};
        p.orientation = 1;
        const char *wrong = read_picture(values[i], &p);
        static float input[@NAME@_INPUT_SIZE], result[@NAME@_OUTPUT_SIZE];
        int status = 0;
        if (!wrong)
            status = @name@_prepare_picture(network, p.pixels, p.width, p.height, p.channels, p.orientation, input);
        if (!wrong && !status) status = @name@_run(network, 1, input, result);
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
