/* Loads files of weights, right and wrong ones, each so that its last byte borders on a page that cannot be touched.
   Usage: files SAVED MUTATIONS FILE..: prints a line for each file, what its status means; writes the weights of the first as the
   library saves them; then loads that many mutations of each file, which must give a status and, unless it is OK, change nothing. */
#define _DEFAULT_SOURCE
#include "model.h"

static unsigned char *state, *before;

static FN(status) load(const unsigned char *file, size_t bytes)
{
    memcpy(state, before, SIZE(STATE_BYTES));
    FN(status) status = FN(load)(state, SIZE(STATE_BYTES), file, bytes);
    if (status != SIZE(OK) && memcmp(state, before, SIZE(STATE_BYTES)) != 0)
        fail("a refused file changed the state");
    return status;
}

static uint32_t draw(uint32_t below)
{
    static uint64_t generator = 1;
    generator = generator * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((generator >> 33) % below);
}

/* Bytes that mean something in a header, so that mutations are not all of one kind. */
static unsigned char likely_byte(void)
{
    static const char bytes[] = "{}[]:,\"\\ 0123456789eF_-.\n\x80";
    return (unsigned char)bytes[draw(sizeof bytes - 1)];
}

static void mutate(const unsigned char *file, size_t bytes, int mutations, int *counts)
{
    uint64_t header;
    if (bytes < 16)
        return;
    memcpy(&header, file, sizeof header);
    size_t end = header < bytes - 8 ? 8 + (size_t)header : bytes;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *room = (unsigned char *)guarded(bytes + page, 0) + bytes + page;
    for (int i = 0; i < mutations; i++) {
        size_t cut = draw(8) == 0 ? draw((uint32_t)bytes + 1) : 0, left = bytes - cut;
        unsigned char *copy = room - left;
        memcpy(copy, file, left);
        for (uint32_t change = 1 + draw(3); change > 0 && left > end; change--) {
            size_t at = draw(20) == 0 ? draw(8) : 8 + draw((uint32_t)end - 8);
            switch (draw(4)) {
            case 0:
                copy[at] = (unsigned char)draw(256);
                break;
            case 1:
                copy[at] = likely_byte();
                break;
            case 2: /* One byte less, a space at the end of the header. */
                memmove(copy + at, copy + at + 1, end - at - 1);
                copy[end - 1] = ' ';
                break;
            default: /* One byte more; the last of the header goes. */
                memmove(copy + at + 1, copy + at, end - at - 1);
                copy[at] = likely_byte();
            }
        }
        counts[load(copy, left)]++;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        fail("usage: files SAVED MUTATIONS FILE..");
    state = (unsigned char *)guarded(SIZE(STATE_BYTES), 0);
    before = (unsigned char *)malloc(SIZE(STATE_BYTES));
    unsigned char *saved = (unsigned char *)malloc(SIZE(WEIGHTS_FILE_BYTES));
    if (before == NULL || saved == NULL)
        fail("no memory");
    memset(before, 0x5a, SIZE(STATE_BYTES));
    int counts[32] = {0};
    for (int i = 3; i < argc; i++) {
        size_t bytes;
        unsigned char *file = read_file(argv[i], &bytes);
        unsigned char *at_end = (unsigned char *)guarded(bytes, 0);
        memcpy(at_end, file, bytes);
        FN(status) status = load(at_end, bytes);
        puts(FN(strerror)(status));
        if (i == 3) {
            if (FN(save)(state, SIZE(STATE_BYTES), saved, SIZE(WEIGHTS_FILE_BYTES)) != SIZE(OK))
                fail("what was loaded cannot be saved");
            write_file(argv[1], saved, SIZE(WEIGHTS_FILE_BYTES));
        }
        mutate(file, bytes, atoi(argv[2]), counts);
        free(file);
    }
    if (counts[SIZE(OK)] == 0 || counts[SIZE(FILE)] == 0 || counts[SIZE(MISSING)] == 0 || counts[SIZE(SHAPE)] == 0 || counts[SIZE(TYPE)] == 0)
        fail("mutations are all of one kind");
    return 0;
}
