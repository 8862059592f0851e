// Predicts from two threads at once with weights that lie in the library, and writes what each found.
// Usage: predict IMAGES(f32) FIRST SECOND, where the images are a whole number of examples.
#include "model.h"

#include <thread>
#include <vector>

static void predict(const std::vector<float> &images, std::size_t examples, const char *path)
{
    auto *image = static_cast<float *>(guarded(SIZE(IMAGE_BYTES), 0));
    auto *logits = static_cast<float *>(guarded(SIZE(LOGITS_BYTES), 0));
    FN(forward_context) step = {};
    step.state = FN(weights);
    step.state_bytes = SIZE(WEIGHTS_BYTES);
    step.workspace_bytes = SIZE(FORWARD_WORKSPACE_BYTES)(1);
    step.workspace = guarded(step.workspace_bytes, 0);
    step.image = image;
    step.logits = logits;
    std::vector<float> results;
    for (int round = 0; round < 20; round++) {
        results.clear();
        for (std::size_t first = 0; first < examples; first += step.batch) {
            step.batch = examples - first < SIZE(MAX_BATCH) ? examples - first : SIZE(MAX_BATCH);
            memcpy(image, &images[SIZE(IMAGE_ELEMENTS)(first)], SIZE(IMAGE_ELEMENTS)(step.batch) * sizeof(float));
            FN(status) status = FN(forward)(&step);
            if (status != SIZE(OK))
                fail(FN(strerror)(status));
            results.insert(results.end(), logits, logits + SIZE(LOGITS_ELEMENTS)(step.batch));
        }
    }
    write_file(path, results.data(), results.size() * sizeof(float));
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: predict IMAGES FIRST SECOND");
    std::size_t bytes = 0;
    unsigned char *file = read_file(argv[1], &bytes);
    std::vector<float> images(bytes / sizeof(float));
    memcpy(images.data(), file, bytes);
    std::size_t examples = images.size() / SIZE(IMAGE_ELEMENTS)(1);
    std::thread other(predict, std::cref(images), examples, argv[3]);
    predict(images, examples, argv[2]);
    other.join();
    return 0;
}
