// A plain pread loop in C that feeds the same consumer as iopath does, for
// scripts/harness.sh: whatever iopath's harness costs, it costs beyond this.
//
//   pread FILE BLOCK CONSUMER JOBS
//
// reads the file in order JOBS times after one untimed time, and prints the mean
// nanoseconds of a job and the digest of the last.
//
// Build: cc -O2 -march=native -o pread pread.c
#define _GNU_SOURCE
#define XXH_INLINE_ALL
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

static uint64_t sum(const unsigned char *b, size_t n) { return XXH3_64bits(b, n); }

static uint64_t touch(const unsigned char *b, size_t n) {
	uint64_t hash = 0;
	for (size_t i = 0; i < n; i += 4096)
		hash = hash * 31 + b[i];
	return hash;
}

static void die(const char *what) {
	fprintf(stderr, "pread: %s: %s\n", what, strerror(errno));
	exit(1);
}

int main(int argc, char **argv) {
	if (argc != 5) {
		fprintf(stderr, "usage: pread FILE BLOCK sum|touch JOBS\n");
		return 2;
	}
	int fd = open(argv[1], O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		die(argv[1]);
	size_t block = strtoull(argv[2], NULL, 10);
	uint64_t (*consume)(const unsigned char *, size_t) = strcmp(argv[3], "touch") == 0 ? touch : sum;
	long jobs = strtol(argv[4], NULL, 10);
	unsigned char *buf = malloc(block); // which is faster than page-aligned memory
	if (buf == NULL)
		die("buffer");
	uint64_t digest = 0;
	struct timespec begin, end;
	for (long job = -1; job < jobs; job++) {
		if (job == 0)
			clock_gettime(CLOCK_MONOTONIC, &begin);
		digest = 0;
		for (off_t off = 0; off < st.st_size;) {
			size_t want = st.st_size - off < (off_t)block ? (size_t)(st.st_size - off) : block;
			for (size_t got = 0; got < want;) {
				ssize_t n = pread(fd, buf + got, want - got, off + got);
				if (n < 0 && errno == EINTR)
					continue;
				if (n <= 0)
					die("pread");
				got += n;
			}
			digest += consume(buf, want) * ((uint64_t)off * 0x9e3779b97f4a7c15u | 1);
			off += want;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ns = ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / jobs;
	printf("%.0f %016llx\n", ns, (unsigned long long)digest);
	return 0;
}
