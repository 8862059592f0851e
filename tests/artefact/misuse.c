/* Wrong use of a library gives a status and changes nothing. The model is a classifier, compiled for training with its weights
   embedded. */
#define _DEFAULT_SOURCE
#include "model.h"

#include <xmmintrin.h>

#define EXPECT(call, name)                                                                        \
    do {                                                                                          \
        FN(status) found = (call);                                                                \
        if (found != SIZE(name)) {                                                                \
            fprintf(stderr, "line %d: `%s`, not `%s`\n", __LINE__, FN(strerror)(found), #name);   \
            return 1;                                                                             \
        }                                                                                         \
    } while (0)

static int32_t refuse(void *data, uint32_t part)
{
    (void)part;
    ++*(int *)data;
    return 7;
}

int main(void)
{
    const size_t batch = 5;
    unsigned char *state = (unsigned char *)guarded(SIZE(STATE_BYTES), 0);
    unsigned char *before = (unsigned char *)malloc(SIZE(STATE_BYTES));
    unsigned char *file = (unsigned char *)malloc(SIZE(WEIGHTS_FILE_BYTES));
    float *image = (float *)guarded(SIZE(IMAGE_BYTES), 0);
    int32_t *label = (int32_t *)guarded(SIZE(LABEL_BYTES), 0);
    float *logits = (float *)guarded(SIZE(LOGITS_BYTES), 0);
    size_t workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(2);
    unsigned char *workspace = (unsigned char *)guarded(workspace_bytes, 0);
    float loss = 0;
    if (before == NULL || file == NULL)
        fail("no memory");
    for (size_t i = 0; i < SIZE(IMAGE_ELEMENTS)(batch); i++)
        image[i] = (float)(i % 17) / 17.0f;
    for (size_t i = 0; i < batch; i++)
        label[i] = (int32_t)(i % 10);

    FN(index_error) error = {-9, -9, -9};
    FN(train_step_context) good;
    memset(&good, 0, sizeof good);
    good.state = state;
    good.state_bytes = SIZE(STATE_BYTES);
    good.workspace = workspace;
    good.workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(1);
    good.batch = batch;
    good.error = &error;
    good.step = 1;
    good.steps = 10;
    good.image = image;
    good.label = label;
    good.loss = &loss;
    FN(train_step_context) bad;

    /* A state without values, and files of other models. */
    EXPECT(FN(train_step)(&good), WEIGHTS);
    EXPECT(FN(save)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES)), WEIGHTS);
    EXPECT(FN(load)(NULL, SIZE(STATE_BYTES), NULL, 0), NULL_POINTER);
    EXPECT(FN(load)(state + 8, SIZE(STATE_BYTES), NULL, 0), MISALIGNED);
    EXPECT(FN(load)(state, SIZE(STATE_BYTES) - 1, NULL, 0), TOO_SMALL);
    EXPECT(FN(load)(state, SIZE(STATE_BYTES), NULL, 0), OK);
    EXPECT(FN(save)(state, SIZE(STATE_BYTES), NULL, SIZE(WEIGHTS_FILE_BYTES)), NULL_POINTER);
    EXPECT(FN(save)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES) - 1), TOO_SMALL);
    EXPECT(FN(save)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES)), OK);
    memcpy(before, state, SIZE(STATE_BYTES));
    if (memcmp(FN(weights), state, SIZE(WEIGHTS_BYTES)) != 0)
        fail("the embedded weights are a state for inference");
    EXPECT(FN(load)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES) - 1), FILE);
    file[10] ^= 1;
    EXPECT(FN(load)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES)), MISSING);
    file[10] ^= 1;
    if (memcmp(before, state, SIZE(STATE_BYTES)) != 0)
        fail("a refused file changed the state");
    EXPECT(FN(load)(state, SIZE(STATE_BYTES), file, SIZE(WEIGHTS_FILE_BYTES)), OK);
    if (memcmp(before, state, SIZE(STATE_BYTES)) != 0)
        fail("a file gives back the state that it was saved from");

    /* Pointers, sizes, numbers. */
    EXPECT(FN(train_step)(NULL), NULL_POINTER);
    bad = good, bad.state = NULL;
    EXPECT(FN(train_step)(&bad), NULL_POINTER);
    bad = good, bad.state = state + 32;
    EXPECT(FN(train_step)(&bad), MISALIGNED);
    bad = good, bad.state_bytes -= 64;
    EXPECT(FN(train_step)(&bad), TOO_SMALL);
    bad = good, bad.workspace = NULL;
    EXPECT(FN(train_step)(&bad), NULL_POINTER);
    bad = good, bad.workspace = workspace + 16;
    EXPECT(FN(train_step)(&bad), MISALIGNED);
    bad = good, bad.workspace_bytes -= 1;
    EXPECT(FN(train_step)(&bad), TOO_SMALL);
    bad = good, bad.image = NULL;
    EXPECT(FN(train_step)(&bad), NULL_POINTER);
    bad = good, bad.image = image + 1;
    EXPECT(FN(train_step)(&bad), MISALIGNED);
    bad = good, bad.batch = 0;
    EXPECT(FN(train_step)(&bad), BATCH);
    bad = good, bad.batch = SIZE(MAX_BATCH) + 1;
    EXPECT(FN(train_step)(&bad), BATCH);
    bad = good, bad.batch = (size_t)-1;
    EXPECT(FN(train_step)(&bad), BATCH);

    /* Parts. */
    int calls = 0;
    bad = good, bad.workspace_bytes = workspace_bytes;
    EXPECT(FN(train_step_part)(0, 0, 2, &bad), PART);
    bad.barrier = refuse, bad.barrier_data = &calls;
    EXPECT(FN(train_step_part)(0, 2, 2, &bad), PART);
    EXPECT(FN(train_step_part)(0, 0, 0, &bad), PART);
    EXPECT(FN(train_step_part)(0, 0, SIZE(MAX_PARTS) + 1, &bad), PART);
    EXPECT(FN(train_step_part)(SIZE(TRAIN_STEP_SEGMENTS), 0, 1, &bad), PART);
    bad.workspace_bytes = SIZE(TRAIN_STEP_WORKSPACE_BYTES)(1);
    EXPECT(FN(train_step_part)(0, 0, 2, &bad), TOO_SMALL);
    bad.workspace_bytes = workspace_bytes;
    if (calls != 0)
        fail("nobody waits before all is checked");
    EXPECT(FN(train_step_part)(0, 0, 2, &bad), CANCELLED);
    if (calls != 1)
        fail("a barrier that refuses is not asked again");

    /* A label out of range: the step says where, and the state is as before. */
    label[3] = 10;
    EXPECT(FN(train_step)(&good), INDEX);
    if (error.pointer != 1 || error.element != 3 || error.value != 10)
        fail("the wrong label is described");
    if (memcmp(before, state, SIZE(STATE_BYTES)) != 0)
        fail("a refused step changed the state");
    bad = good, bad.error = NULL;
    EXPECT(FN(train_step)(&bad), INDEX);
    label[3] = 4;

    /* The caller's floating-point environment neither matters nor changes. */
    EXPECT(FN(train_step)(&good), OK);
    unsigned char *after = (unsigned char *)malloc(SIZE(STATE_BYTES));
    if (after == NULL)
        fail("no memory");
    memcpy(after, state, SIZE(STATE_BYTES));
    memcpy(state, before, SIZE(STATE_BYTES));
    unsigned flushing = _mm_getcsr() | 0x8040u | 0x6000u;
    _mm_setcsr(flushing);
    EXPECT(FN(train_step)(&good), OK);
    unsigned found = _mm_getcsr();
    _mm_setcsr(0x1F80u);
    if ((found & ~0x3Fu) != (flushing & ~0x3Fu))
        fail("the caller's floating-point environment comes back");
    if (memcmp(after, state, SIZE(STATE_BYTES)) != 0)
        fail("results depend on the caller's floating-point environment");
    if (memcmp(before, state, SIZE(STATE_BYTES)) == 0 || !(loss > 0))
        fail("a step trains");

    /* Evaluation, metrics from totals, inference from weights that cannot be written. */
    FN(evaluate_context) judge;
    memset(&judge, 0, sizeof judge);
    float mean = 0;
    judge.state = FN(weights);
    judge.state_bytes = SIZE(WEIGHTS_BYTES);
    judge.workspace_bytes = SIZE(EVALUATE_WORKSPACE_BYTES)(1);
    judge.workspace = guarded(judge.workspace_bytes, 0);
    judge.batch = batch;
    judge.image = image;
    judge.label = label;
    judge.loss = &mean;
    EXPECT(FN(evaluate)(&judge), OK);
    if (!(mean > 0) || mean != loss)
        fail("the loss of the first step is that of the first weights");
    FN(forward_context) predict;
    memset(&predict, 0, sizeof predict);
    predict.state = FN(weights);
    predict.state_bytes = SIZE(WEIGHTS_BYTES);
    predict.workspace_bytes = SIZE(FORWARD_WORKSPACE_BYTES)(1);
    predict.workspace = guarded(predict.workspace_bytes, 0);
    predict.batch = SIZE(MAX_BATCH);
    predict.image = image;
    predict.logits = NULL;
    EXPECT(FN(forward)(&predict), NULL_POINTER);
    predict.logits = logits;
    EXPECT(FN(forward)(&predict), OK);
    /* Every entry checks for itself. */
    FN(forward_context) bad_predict;
    EXPECT(FN(forward)(NULL), NULL_POINTER);
    bad_predict = predict, bad_predict.batch = 0;
    EXPECT(FN(forward)(&bad_predict), BATCH);
    bad_predict = predict, bad_predict.batch = SIZE(MAX_BATCH) + 1;
    EXPECT(FN(forward)(&bad_predict), BATCH);
    bad_predict = predict, bad_predict.state_bytes -= 64;
    EXPECT(FN(forward)(&bad_predict), TOO_SMALL);
    bad_predict = predict, bad_predict.workspace_bytes -= 1;
    EXPECT(FN(forward)(&bad_predict), TOO_SMALL);
    bad_predict = predict, bad_predict.logits = logits + 4;
    EXPECT(FN(forward)(&bad_predict), MISALIGNED);
    bad_predict = predict, bad_predict.state = (unsigned char *)guarded(SIZE(WEIGHTS_BYTES), 0);
    EXPECT(FN(forward)(&bad_predict), WEIGHTS);
    EXPECT(FN(forward_part)(SIZE(FORWARD_SEGMENTS), 0, 1, &predict), PART);
    EXPECT(FN(forward_part)(0, 1, 1, &predict), PART);
    EXPECT(FN(evaluate)(NULL), NULL_POINTER);
    judge.label = NULL;
    EXPECT(FN(evaluate)(&judge), NULL_POINTER);
    judge.label = label, label[0] = -1;
    EXPECT(FN(evaluate)(&judge), INDEX);
    FN(init_context) init;
    memset(&init, 0, sizeof init);
    EXPECT(FN(init)(&init), NULL_POINTER);
    init.state = state;
    init.state_bytes = SIZE(STATE_BYTES) - 1;
    EXPECT(FN(init)(&init), TOO_SMALL);
    init.state_bytes = SIZE(STATE_BYTES);
    EXPECT(FN(init)(&init), NULL_POINTER);
    init.workspace_bytes = SIZE(WORKSPACE_BYTES)(1);
    init.workspace = guarded(init.workspace_bytes, 0);
    memcpy(state, before, SIZE(STATE_BYTES));
    EXPECT(FN(init)(&init), OK);
    if (memcmp(state, FN(weights), SIZE(WEIGHTS_BYTES)) != 0)
        fail("the same seed draws the weights that were embedded");
    for (int status = -1; status < 16; status++)
        if (strlen(FN(strerror)((FN(status))status)) < 4)
            fail("every status has a message");
    puts("all as expected");
    return 0;
}
