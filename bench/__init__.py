"""The benchmark suite: `make bench` measures and writes docs/reference/benchmarks.md."""
