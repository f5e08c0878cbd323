/* The network @name@ as a library, made by ninc @version@. Link with the C library and threads only.
 *
 * Inputs:
@inputs@
 * Outputs:
@outputs@
 *
 * Numbers are given in the order above, the last dimension the fastest (images: channel, row, column). All functions
 * that give an `int` give @NAME@_OK (0) or a status above 0, which @name@_message puts into words.
 *
 * A network that was created is only read: any number of threads may run it at the same time. The bits of a
 * result do not depend on the number of threads.
/*few<*/
 * Images are computed @chunk@ at a time. Where they are at most @few@ (a small batch, or the rest of a large one), they are
 * computed in a way of their own: the last bits of an image's result may be others than among more images.
/*>few*/
 */
#ifndef NINC_@NAME@_H
#define NINC_@NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct @name@ @name@;

enum {
    @NAME@_OK = 0,
    @NAME@_NO_FILE = 1,        /* the weights cannot be opened or read */
    @NAME@_DAMAGED = 2,        /* the weights are damaged, hold NaN or an infinity, or are not a weights file of ninc */
    @NAME@_UNFIT = 3,          /* the weights belong to another network or preparation */
    @NAME@_NO_MEMORY = 4,
    @NAME@_NO_CPU = 5,         /* this processor lacks instructions that the library was built for, or the system keeps
                                  them from it: matrix units (AMX) where a thread's stack for signals is too small */
    @NAME@_INVALID = 6,        /* an argument is missing or out of its range */
    @NAME@_SMALL = 7,          /* the workspace is smaller than @name@_workspace_size says */
    @NAME@_NO_PREPARATION = 8, /* no pictures: built without weights, or for images of other than 1 or 3 channels */
    @NAME@_NO_WRITE = 9,       /* the file cannot be written */
    @NAME@_BAD_INPUT = 10,     /* an input holds NaN or an infinity; nothing was computed */
    @NAME@_BAD_RESULT = 11,    /* a result is NaN or infinite; what was computed is written as it is */
    @NAME@_BAD_WEIGHTS = 12    /* the weights hold NaN or an infinity and were not saved */
};

/* Numbers of one image: of the first input and of the first output. */
#define @NAME@_INPUT_SIZE @input_size@
#define @NAME@_OUTPUT_SIZE @output_size@
#define @NAME@_CLASSES @classes@
/*bytes<*/
#define @NAME@_CHANNELS @channels@
#define @NAME@_HEIGHT @height@
#define @NAME@_WIDTH @width@
/*>bytes*/

/* Creates the network from the weights that were written beside this header, or from others of the same network. All is
 * checked (names, shapes, checksums) before it is used. On failure *network is NULL, and `error` (if not NULL) holds
 * what is wrong, cut to error_size bytes with the 0 at its end. Large weights are read by up to four threads, which
 * end before the call does.
/*windows<*/
 * A path is UTF-8; one that cannot be UTF-8 is of the system's code page.
/*>windows*/
 */
int @name@_create(@name@ **network, const char *path, char *error, size_t error_size);

/* Like @name@_create, from a weights file in memory, which is not used after the call. */
int @name@_create_from_memory(@name@ **network, const void *weights, size_t size, char *error, size_t error_size);

/*embedded<*/
/* Like @name@_create, from the weights inside the library. */
int @name@_create_embedded(@name@ **network, char *error, size_t error_size);

/*>embedded*/
/* Frees the network and ends its threads; nobody may be running it. NULL is fine. Unloading the library ends the
 * threads of networks that were not freed. */
void @name@_destroy(@name@ *network);

/* Runs the network on n images (at least 1) of @NAME@_INPUT_SIZE floats each, already prepared as for training, and
 * writes @NAME@_OUTPUT_SIZE floats for each to `result`. One thread; allocates a workspace and frees it. */
int @name@_run(const @name@ *network, int64_t n, const float *images, float *result);

/* Like @name@_run, with at most `threads` threads (1 to 1024, the caller's included): as many of them as pay for n
 * images. They are started by the first call that wants them and wait for the next one, until @name@_destroy. Several
 * threads may run one network at the same time: the first has the network's threads, the others do their runs alone.
 * Results have the same bits for any number of threads. After a fork the child may use the network; it gets threads
 * of its own. The workspace is the caller's, of at least @name@_workspace_size bytes, at any address, used by nobody
 * else during the call. With one thread nothing is allocated. Where workspace is NULL, one is allocated. */
int @name@_run_with(const @name@ *network, int64_t n, const float *images, float *result, int64_t threads,
                    void *workspace, size_t workspace_size);

/*bytes<*/
/* Pictures as most programs have them: bytes, row by row, the channels of a pixel together; @NAME@_HEIGHT x
 * @NAME@_WIDTH x @NAME@_CHANNELS for each image. What was done to the training images (the preparation stored with
 * the weights) is done to them first. */
int @name@_run_u8(const @name@ *network, int64_t n, const uint8_t *pixels, float *result);
int @name@_run_u8_with(const @name@ *network, int64_t n, const uint8_t *pixels, float *result, int64_t threads,
                       void *workspace, size_t workspace_size);

/*>bytes*/
/*pictures<*/
/* Prepares a picture of any size (sides up to 32768) for @name@_run and @name@_run_with, as `ninc run` does: turned as
 * `orientation` says, laid on the background, brought to the network's size, cut, and prepared. `pixels` are bytes, row
 * by row, the channels of a pixel together: 1 (grey), 2 (grey and alpha), 3 (red, green, blue) or 4 (with alpha).
 * `orientation` is that of EXIF, 1 to 8: 1 is upright, 6 is shown after a quarter turn to the right. Writes
 * @NAME@_INPUT_SIZE floats to `image`. Allocates memory and frees it. */
int @name@_prepare_picture(const @name@ *network, const uint8_t *pixels, int64_t width, int64_t height,
                           int64_t channels, int64_t orientation, float *image);

/*>pictures*/
/* Like @name@_run_with, for networks with several outputs: `inputs` holds the address of the images, `outputs` one for
 * each output in their order, or NULL where that is not wanted. */
int @name@_run_ports(const @name@ *network, int64_t n, const void *const *inputs, void *const *outputs, int64_t threads,
                     void *workspace, size_t workspace_size);

/* Bytes of workspace for n images and `threads` threads; 0 for arguments out of range. Above 64 images it does not
 * grow. */
size_t @name@_workspace_size(const @name@ *network, int64_t n, int64_t threads);

/* What a status means. */
const char *@name@_message(int status);

/* The input and the outputs: how many, and for each its name, the number of its dimensions and their sizes (for one image).
 * NULL or 0 where there is none of that number. */
int64_t @name@_inputs(void);
int64_t @name@_outputs(void);
const char *@name@_input_name(int64_t index);
const char *@name@_output_name(int64_t index);
int64_t @name@_input_rank(int64_t index);
int64_t @name@_output_rank(int64_t index);
const int64_t *@name@_input_shape(int64_t index);
const int64_t *@name@_output_shape(int64_t index);

/* Names of the classes, in the order of the first output's numbers; 0 and NULL where they are not known. */
int64_t @name@_classes(void);
const char *@name@_class_name(int64_t index);

/*training<*/
/* Learning. A @name@_train is one training under way: weights, the optimiser's states, the fitted preparation. One
 * thread at a time may use it. */
typedef struct @name@_train @name@_train;

/* Starts from @name@_train.safetensors, which was written beside this header. */
int @name@_train_create(@name@_train **training, const char *path, char *error, size_t error_size);
int @name@_train_create_from_memory(@name@_train **training, const void *weights, size_t size, char *error,
                                    size_t error_size);
void @name@_train_destroy(@name@_train *training);

/* One step on n images, as @name@_run takes them, with their classes. `step` counts from 0 and chooses the random
 * numbers of dropout; `factor` is that of the schedule on the recipe's rate (1 without one), 0 or more. *loss becomes the
 * batch's mean loss. Threads and workspace are as for @name@_run_with; its size grows with n until the step takes the
 * images in groups. */
int @name@_train_step(@name@_train *training, int64_t n, const float *images, const int32_t *labels, int64_t step,
                      double factor, float *loss, int64_t threads, void *workspace, size_t workspace_size);
size_t @name@_train_workspace_size(const @name@_train *training, int64_t n, int64_t threads);

/* Prepares pictures (bytes, as @name@_run_u8 takes them) for steps: @NAME@_INPUT_SIZE floats each. */
int @name@_train_prepare(const @name@_train *training, int64_t n, const uint8_t *pixels, float *images);

/* Writes the weights to a file that @name@_create reads. Whatever fails, a file that was there stays as it was: also
 * where the weights are broken, and where it is write-protected. A link stays, and its target is written. */
int @name@_train_save(const @name@_train *training, const char *path);

/*>training*/
#ifdef __cplusplus
}
#endif
#endif
