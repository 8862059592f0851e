/* Times training steps of a classifier from its static library: the median and the least, in milliseconds. By hand:
     dlc compile examples/lenet.dl -o out --train --batch 64
     cc -O2 -pthread -DMODEL=lenet -DMODEL_UPPER=LENET -DMODEL_H='"lenet.h"' -Iout tests/artefact/bench.c out/liblenet.a -o out/bench
     out/bench 1 5
   Usage: bench THREADS SECONDS */
#define _GNU_SOURCE
#include "model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { most_steps = 1 << 20 };

static FN(train_step_context) step;
static uint32_t n_parts;
static double seconds;
static double *times;
static unsigned n_times;
static atomic_uint waiting, round_number;
static atomic_int done;

/* Spins, as threads that have a processor each may. */
static int32_t meet(void *data, uint32_t part)
{
    (void)data;
    (void)part;
    unsigned mine = atomic_load_explicit(&round_number, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&waiting, 1, memory_order_acq_rel) + 1 == n_parts) {
        atomic_store_explicit(&waiting, 0, memory_order_relaxed);
        atomic_store_explicit(&round_number, mine + 1, memory_order_release);
    } else {
        while (atomic_load_explicit(&round_number, memory_order_acquire) == mine)
            __builtin_ia32_pause();
    }
    return 0;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static void *work(void *number)
{
    uint32_t part = *(const uint32_t *)number;
    FN(train_step_context) context = step;
    double start = now();
    for (int32_t i = 1; i < most_steps; i++) {
        context.step = i;
        double begin = now();
        if (n_parts == 1) {
            if (FN(train_step)(&context) != SIZE(OK))
                fail("a step failed");
        } else {
            meet(NULL, part);
            if (atomic_load(&done))
                break;
            begin = now();
            for (uint32_t segment = 0; segment < SIZE(TRAIN_STEP_SEGMENTS); segment++)
                if (FN(train_step_part)(segment, part, n_parts, &context) != SIZE(OK))
                    fail("a step failed");
        }
        if (part > 0)
            continue;
        double end = now();
        times[n_times++] = end - begin;
        if (end - start > seconds * 1e3) {
            atomic_store(&done, 1);
            if (n_parts == 1)
                break;
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: bench THREADS SECONDS");
    n_parts = (uint32_t)atoi(argv[1]);
    seconds = atof(argv[2]);
    times = (double *)malloc(most_steps * sizeof *times);
    step.state = guarded(SIZE(STATE_BYTES), 0);
    step.state_bytes = SIZE(STATE_BYTES);
    step.workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(n_parts);
    step.workspace = guarded(step.workspace_bytes, 0);
    step.batch = SIZE(MAX_BATCH);
    step.barrier = meet;
    float *image = (float *)guarded(SIZE(IMAGE_BYTES), 0);
    int32_t *label = (int32_t *)guarded(SIZE(LABEL_BYTES), 0);
    for (size_t i = 0; i < SIZE(IMAGE_ELEMENTS)(step.batch); i++)
        image[i] = (float)(i * 7919 % 256) / 255.0f;
    for (size_t i = 0; i < step.batch; i++)
        label[i] = (int32_t)(i % 10);
    step.image = image;
    step.label = label;
    FN(init_context) init;
    memset(&init, 0, sizeof init);
    init.state = step.state;
    init.state_bytes = SIZE(STATE_BYTES);
    init.workspace_bytes = SIZE(INIT_WORKSPACE_BYTES)(1);
    init.workspace = guarded(init.workspace_bytes, 0);
    if (times == NULL || FN(init)(&init) != SIZE(OK))
        fail("no first values");
    enum { most_parts = 64 };
    pthread_t threads[most_parts];
    uint32_t numbers[most_parts];
    if (n_parts < 1 || n_parts > most_parts)
        fail("1 to 64 threads");
    for (uint32_t part = 0; part < n_parts; part++) {
        numbers[part] = part;
        if (part > 0 && pthread_create(&threads[part], NULL, work, &numbers[part]) != 0)
            fail("no thread");
    }
    work(&numbers[0]);
    for (uint32_t part = 1; part < n_parts; part++)
        pthread_join(threads[part], NULL);
    qsort(times, n_times, sizeof *times, compare);
    printf("%.4f ms, least %.4f ms, %u steps\n", times[n_times / 2], times[0], n_times);
    return 0;
}
