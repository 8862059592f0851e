/* Trains a classifier of images on files in the format of MNIST, with nothing but its static library.
   Usage: train IMAGES LABELS STEPS PARTS BATCH SEED WEIGHTS (start|end: which side of buffers borders on a guard page). */
#define _DEFAULT_SOURCE
#include "model.h"

#include <pthread.h>

struct run {
    FN(train_step_context) step;
    unsigned parts, steps;
    size_t batch, examples, pixels;
    const unsigned char *images, *labels;
    float *image;
    int32_t *label;
    pthread_barrier_t between;
    float loss;
};

struct part {
    struct run *run;
    uint32_t number;
    pthread_t thread;
};

static int32_t meet(void *barrier, uint32_t part)
{
    (void)part;
    int outcome = pthread_barrier_wait((pthread_barrier_t *)barrier);
    return outcome == 0 || outcome == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : 1;
}

/* Batches differ in size; examples follow one another and begin again. */
static size_t batch_of(const struct run *run, unsigned step)
{
    size_t less = step % 3;
    return run->batch > less ? run->batch - less : 1;
}

static void fill(struct run *run, unsigned step)
{
    size_t batch = batch_of(run, step), first = 0;
    for (unsigned earlier = 1; earlier < step; earlier++)
        first += batch_of(run, earlier);
    for (size_t i = 0; i < batch; i++) {
        size_t example = (first + i) % run->examples;
        for (size_t p = 0; p < run->pixels; p++)
            run->image[i * run->pixels + p] = (float)run->images[16 + example * run->pixels + p] / 255.0f;
        run->label[i] = run->labels[8 + example];
    }
}

static void *work(void *argument)
{
    struct part *part = (struct part *)argument;
    struct run *run = part->run;
    FN(train_step_context) step = run->step;
    for (unsigned number = 1; number <= run->steps; number++) {
        if (part->number == 0)
            fill(run, number);
        if (run->parts > 1)
            meet(&run->between, part->number);
        step.batch = batch_of(run, number);
        step.step = (int32_t)number;
        FN(status) status = SIZE(OK);
        if (run->parts == 1) {
            status = FN(train_step)(&step);
        } else {
            for (uint32_t segment = 0; segment < SIZE(TRAIN_STEP_SEGMENTS) && status == SIZE(OK); segment++)
                status = FN(train_step_part)(segment, part->number, run->parts, &step);
        }
        if (status != SIZE(OK))
            fail(FN(strerror)(status));
    }
    return NULL;
}

static size_t big_endian(const unsigned char *bytes)
{
    return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
}

int main(int argc, char **argv)
{
    if (argc != 9)
        fail("usage: train IMAGES LABELS STEPS PARTS BATCH SEED WEIGHTS start|end");
    static struct run run;
    size_t images_bytes, labels_bytes;
    run.images = read_file(argv[1], &images_bytes);
    run.labels = read_file(argv[2], &labels_bytes);
    run.steps = (unsigned)atoi(argv[3]);
    run.parts = (unsigned)atoi(argv[4]);
    run.batch = (size_t)atoi(argv[5]);
    int at_start = strcmp(argv[8], "start") == 0;
    run.examples = big_endian(run.labels + 4);
    run.pixels = SIZE(IMAGE_ELEMENTS)(1);
    if (images_bytes != 16 + run.examples * run.pixels || labels_bytes != 8 + run.examples)
        fail("images of another size");

    run.image = (float *)guarded(SIZE(IMAGE_BYTES), at_start);
    run.label = (int32_t *)guarded(SIZE(LABEL_BYTES), at_start);
    run.step.state = guarded(SIZE(STATE_BYTES), at_start);
    run.step.state_bytes = SIZE(STATE_BYTES);
    run.step.workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(run.parts);
    run.step.workspace = guarded(run.step.workspace_bytes, at_start);
    run.step.steps = (int32_t)run.steps;
    run.step.seed = (uint32_t)strtoul(argv[6], NULL, 10);
    run.step.image = run.image;
    run.step.label = run.label;
    run.step.loss = &run.loss;

    FN(init_context) init;
    memset(&init, 0, sizeof init);
    init.state = run.step.state;
    init.state_bytes = SIZE(STATE_BYTES);
    init.workspace_bytes = SIZE(INIT_WORKSPACE_BYTES)(1);
    init.workspace = guarded(init.workspace_bytes, at_start);
    init.seed = run.step.seed;
    FN(status) status = FN(init)(&init);
    if (status != SIZE(OK))
        fail(FN(strerror)(status));

    if (run.parts > 1) {
        if (pthread_barrier_init(&run.between, NULL, run.parts) != 0)
            fail("no barrier");
        run.step.barrier = meet;
        run.step.barrier_data = &run.between;
    }
    struct part *parts = (struct part *)calloc(run.parts, sizeof *parts);
    if (parts == NULL)
        fail("no memory");
    for (uint32_t number = 0; number < run.parts; number++) {
        parts[number].run = &run;
        parts[number].number = number;
        if (number > 0 && pthread_create(&parts[number].thread, NULL, work, &parts[number]) != 0)
            fail("no thread");
    }
    work(&parts[0]);
    for (uint32_t number = 1; number < run.parts; number++)
        pthread_join(parts[number].thread, NULL);

    unsigned char *file = (unsigned char *)malloc(SIZE(WEIGHTS_FILE_BYTES));
    if (file == NULL || FN(save)(run.step.state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES)) != SIZE(OK))
        fail("no weights");
    write_file(argv[7], file, SIZE(WEIGHTS_FILE_BYTES));
    printf("%.9g\n", (double)run.loss);
    return 0;
}
