/* What the test programs share: the names of the model that is compiled in, and memory between pages that may not be touched.
   MODEL and MODEL_UPPER are the prefixes of the model's header MODEL_H. */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include MODEL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(MODEL, name)
#define SIZE(name) JOIN(MODEL_UPPER, name)

static inline void fail(const char *what)
{
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

/* Zeroed memory whose last byte, or first byte, borders on a page that cannot be touched. */
static inline void *guarded(size_t bytes, int at_start)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t whole = (bytes + page - 1) / page * page;
    unsigned char *map = (unsigned char *)mmap(NULL, whole + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) != 0 || mprotect(map + page + whole, page, PROT_NONE) != 0)
        fail("no memory");
    return map + page + (at_start ? 0 : whole - bytes);
}

static inline unsigned char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        fail(path);
    long size = ftell(file);
    rewind(file);
    unsigned char *data = (unsigned char *)malloc((size_t)size + 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size)
        fail(path);
    fclose(file);
    *bytes = (size_t)size;
    return data;
}

static inline void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
        fail(path);
}

#endif
