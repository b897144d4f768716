// What the product's kernels are measured beside, pinned apart from the product so that
// none of it becomes a dependency.
module github.com/millrace-ml/millrace/bench/beside

go 1.26.0

replace github.com/millrace-ml/millrace => ../..

require (
	github.com/millrace-ml/millrace v0.0.0-00010101000000-000000000000
	gonum.org/v1/gonum v0.17.0
)

require (
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
