/* Trains a model that was compiled ahead of time on given batches, with a number of parts, and writes parameters and state of f32
   after some steps. The model's header and the macros that name its inputs and arrays are put in front of this file:
   PREFIX and UPPER, INPUTS as a list of INPUT(name, NAME), ARRAYS as one of ARRAY(at, elements), MARKS.
   Usage: artefact BATCHES OUT STEPS PARTS BATCH SEED */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(PREFIX, name)
#define SIZE(name) JOIN(UPPER, name)

static FILE *batches, *out;
static FN(train_step_context) common;
static int last_step;
static uint32_t n_parts;
static pthread_barrier_t inside, between;

static void fail(const char *what)
{
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static void must(FN(status) status)
{
    if (status != SIZE(OK))
        fail(FN(strerror)(status));
}

static void *memory(size_t bytes)
{
    void *memory = aligned_alloc(SIZE(ALIGNMENT), (bytes + SIZE(ALIGNMENT) - 1) / SIZE(ALIGNMENT) * SIZE(ALIGNMENT));
    if (memory == NULL)
        fail("no memory");
    /* What was never written must not matter. */
    memset(memory, 0xff, bytes);
    return memory;
}

static void read_batch(void)
{
#define INPUT(name, NAME)                                                                                   \
    if (fread((void *)common.name, sizeof *common.name, SIZE(NAME##_ELEMENTS)(common.batch), batches) !=    \
        SIZE(NAME##_ELEMENTS)(common.batch))                                                                \
        fail("a batch is cut off");
    INPUTS
#undef INPUT
}

static void write_marked(int step)
{
    static const int marks[] = {MARKS};
    int is_mark = 0;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        is_mark |= marks[i] == step;
    if (!is_mark)
        return;
    const unsigned char *state = (const unsigned char *)common.state;
#define ARRAY(at, elements)                                                         \
    if (fwrite(state + (at), sizeof(float), (elements), out) != (size_t)(elements)) \
        fail("nothing can be written");
    ARRAYS
#undef ARRAY
}

static int32_t meet(void *barrier, uint32_t part)
{
    (void)part;
    int outcome = pthread_barrier_wait((pthread_barrier_t *)barrier);
    return outcome == 0 || outcome == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : 1;
}

static void *work(void *number)
{
    uint32_t part = *(const uint32_t *)number;
    for (int step = 1; step <= last_step; step++) {
        if (part == 0)
            read_batch();
        meet(&between, part);
        FN(train_step_context) context = common;
        context.step = step;
        for (uint32_t segment = 0; segment < SIZE(TRAIN_STEP_SEGMENTS); segment++)
            must(FN(train_step_part)(segment, part, n_parts, &context));
        if (part == 0)
            write_marked(step);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("usage: artefact BATCHES OUT STEPS PARTS BATCH SEED");
    batches = fopen(argv[1], "rb");
    out = fopen(argv[2], "wb");
    if (batches == NULL || out == NULL)
        fail("no files");
    last_step = atoi(argv[3]);
    n_parts = (uint32_t)atoi(argv[4]);
    if (pthread_barrier_init(&inside, NULL, n_parts) != 0 || pthread_barrier_init(&between, NULL, n_parts) != 0)
        fail("no barrier");
    common.state = memory(SIZE(STATE_BYTES));
    common.state_bytes = SIZE(STATE_BYTES);
    common.workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(n_parts);
    common.workspace = memory(common.workspace_bytes);
    common.batch = (size_t)atoi(argv[5]);
    common.barrier = meet;
    common.barrier_data = &inside;
    common.steps = last_step;
    common.seed = (uint32_t)strtoul(argv[6], NULL, 10);
#define INPUT(name, NAME) common.name = memory(SIZE(NAME##_BYTES));
    INPUTS
#undef INPUT

    FN(init_context) init;
    memset(&init, 0, sizeof init);
    init.state = common.state;
    init.state_bytes = SIZE(STATE_BYTES);
    init.workspace_bytes = SIZE(INIT_WORKSPACE_BYTES)(1);
    init.workspace = memory(init.workspace_bytes);
    init.seed = common.seed;
    must(FN(init)(&init));
    write_marked(0);

    enum { most = 16 };
    uint32_t numbers[most];
    pthread_t threads[most];
    if (n_parts < 1 || n_parts > most)
        fail("too many parts");
    for (uint32_t part = 0; part < n_parts; part++) {
        numbers[part] = part;
        if (part > 0 && pthread_create(&threads[part], NULL, work, &numbers[part]) != 0)
            fail("no thread");
    }
    work(&numbers[0]);
    for (uint32_t part = 1; part < n_parts; part++)
        pthread_join(threads[part], NULL);
    if (fclose(out) != 0)
        fail("nothing can be written");
    return 0;
}
