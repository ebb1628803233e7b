// Plain loops in C that do what iopath's readers do and feed the same consumer,
// for scripts/crosscheck.sh: whatever iopath's harness costs, it costs beyond this.
//
//   loop METHOD PATTERN FILE BLOCK CONSUMER JOBS
//   loop hold FILE
//
// METHOD is pread or mmap (mapped and unmapped once a job), PATTERN seq or rand
// (each block once), CONSUMER sum or touch. Reads the file JOBS times after one
// untimed time, and prints the mean nanoseconds of a job and the digest of the
// last. With hold, maps the file so that it stays in the page cache, and waits.
//
// Build: cc -O2 -march=native -o loop loop.c
#define _GNU_SOURCE
#define XXH_INLINE_ALL
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static uint64_t sum(const unsigned char *b, size_t n) {
	const size_t hashed = 4096;
	uint64_t hash = 0;
	for (; n > hashed; b += hashed, n -= hashed)
		hash = hash * 0x9e3779b97f4a7c15u + XXH3_64bits(b, hashed);
	return hash * 0x9e3779b97f4a7c15u + XXH3_64bits(b, n);
}

static uint64_t touch(const unsigned char *b, size_t n) {
	uint64_t hash = 0;
	for (size_t i = 0; i < n; i += 4096)
		hash = hash * 31 + b[i];
	return hash;
}

static void die(const char *what) {
	fprintf(stderr, "loop: %s: %s\n", what, strerror(errno));
	exit(1);
}

// shuffled returns the indices below n in an order that is always the same.
static uint32_t *shuffled(size_t n) {
	uint32_t *order = malloc(n * sizeof *order);
	uint64_t state = 88172645463325252u;
	if (order == NULL)
		die("order");
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i > 1; i--) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17; // xorshift64
		size_t j = state % i;
		uint32_t swap = order[i - 1];
		order[i - 1] = order[j], order[j] = swap;
	}
	return order;
}

static void hold(const char *file) {
	int fd = open(file, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		die(file);
	if (mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0) == MAP_FAILED)
		die("mmap");
	puts("holding");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv) {
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		hold(argv[2]);
	if (argc != 7) {
		fprintf(stderr, "usage: loop pread|mmap seq|rand FILE BLOCK sum|touch JOBS\n");
		return 2;
	}
	int mapped = strcmp(argv[1], "mmap") == 0;
	int fd = open(argv[3], O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		die(argv[3]);
	size_t size = st.st_size, block = strtoull(argv[4], NULL, 10), blocks = (size + block - 1) / block;
	uint32_t *order = strcmp(argv[2], "rand") == 0 ? shuffled(blocks) : NULL;
	uint64_t (*consume)(const unsigned char *, size_t) = strcmp(argv[5], "touch") == 0 ? touch : sum;
	long jobs = strtol(argv[6], NULL, 10);
	// 1 KiB into a page, as iopath has it. malloc's own 16 bytes into one, where the
	// block is large, halve the speed: the kernel's copy wants whole cache lines.
	unsigned char *buf;
	if ((errno = posix_memalign((void **)&buf, 4096, block + 4096)) != 0)
		die("buffer");
	buf += 1024;
	uint64_t digest = 0;
	struct timespec begin, end;
	for (long job = -1; job < jobs; job++) {
		if (job == 0)
			clock_gettime(CLOCK_MONOTONIC, &begin);
		digest = 0;
		unsigned char *map = NULL;
		if (mapped && (map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
			die("mmap");
		for (size_t i = 0; i < blocks; i++) {
			off_t off = (off_t)(order ? order[i] : i) * block;
			size_t want = size - off < block ? size - off : block;
			const unsigned char *b = map ? map + off : buf;
			for (size_t got = map ? want : 0; got < want;) {
				ssize_t n = pread(fd, buf + got, want - got, off + got);
				if (n < 0 && errno == EINTR)
					continue;
				if (n <= 0)
					die("pread");
				got += n;
			}
			digest += consume(b, want) * ((uint64_t)off * 0x9e3779b97f4a7c15u | 1);
		}
		if (map && munmap(map, size) < 0)
			die("munmap");
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ns = ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / jobs;
	printf("%.0f %016llx\n", ns, (unsigned long long)digest);
	return 0;
}
