// SPDX-License-Identifier: Apache-2.0

// Package cpu tells which instruction sets the kernels may use.
//
// Sets are grouped in levels, each of which includes those before it on the same
// architecture. The level is found once, when the program starts; MILLRACE_CPU, which
// names a level, lowers it (never raises it). Kernels read it with a plain load:
//
//	switch {
//	case cpu.Active() >= cpu.AVX512: ...
//
// Reading is safe from any goroutine. Limit is for tests and benchmarks, which must
// not run kernels while they call it.
package cpu

import (
	"fmt"
	"os"
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// EnvLevel is the environment variable that lowers the level.
const EnvLevel = "MILLRACE_CPU"

// Level is a group of instruction sets.
type Level uint8

// The levels. Generic is plain Go. NEON is the baseline of arm64; all others are of
// amd64, so that comparing with them is false elsewhere: see Active.
const (
	Generic Level = iota
	// NEON is arm64's 128-bit vectors with fused multiply-add.
	NEON
	// AVX2 is 256-bit vectors with FMA, F16C, BMI1, BMI2, LZCNT and POPCNT.
	AVX2
	// AVX512 is F, BW, CD, DQ and VL on top.
	AVX512
	// VNNI is 8-bit dot products (AVX512_VNNI) with VBMI's byte permutations on top.
	VNNI
	// BF16 is dot products of bfloat16 (AVX512_BF16) on top.
	BF16
	levels
)

var names = [levels]string{"generic", "neon", "avx2", "avx512", "avx512vnni", "avx512bf16"}

// String is the level's name, as MILLRACE_CPU takes it.
func (l Level) String() string {
	if l < levels {
		return names[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// MarshalText gives the level's name, as JSON shows it.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (l *Level) UnmarshalText(text []byte) (err error) {
	*l, err = Parse(string(text))
	return err
}

// Parse reads a level's name.
func Parse(name string) (Level, error) {
	for l := Generic; l < levels; l++ {
		if names[l] == name {
			return l, nil
		}
	}
	return Generic, fmt.Errorf("%q is not a CPU level; the levels are %v", name, names)
}

// needs lists what each level of amd64 needs beyond the one before it.
var needs = map[Level][]cpuid.FeatureID{
	AVX2:   {cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.BMI1, cpuid.BMI2, cpuid.LZCNT, cpuid.POPCNT},
	AVX512: {cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512CD, cpuid.AVX512DQ, cpuid.AVX512VL},
	VNNI:   {cpuid.AVX512VNNI, cpuid.AVX512VBMI},
	BF16:   {cpuid.AVX512BF16},
}

var (
	machine = detect()
	active  = machine
	problem error
)

func init() {
	if name, set := os.LookupEnv(EnvLevel); set && name != "" {
		problem = Lower(name)
	}
}

// detect is the highest level of this machine and build.
func detect() Level {
	switch {
	case !assembly:
		return Generic
	case runtime.GOARCH == "arm64":
		return NEON
	case runtime.GOARCH != "amd64":
		return Generic
	}
	level := Generic
	for l := AVX2; l < levels && cpuid.CPU.Supports(needs[l]...); l++ {
		level = l
	}
	return level
}

// Machine is the highest level that this machine has; Generic in a build with the tag
// purego, which has no assembly.
func Machine() Level { return machine }

// Active is the level that kernels use.
func Active() Level { return active }

// Problem reports a value of MILLRACE_CPU that cannot be honoured; the program then
// runs at the machine's level. The command line refuses to start with it.
func Problem() error { return problem }

// Lower makes the named level the active one. It is an error to name one that this
// machine does not have.
func Lower(name string) error {
	level, err := Parse(name)
	if err != nil {
		return fmt.Errorf("%s: %w", EnvLevel, err)
	}
	if level > machine || (level == NEON && runtime.GOARCH != "arm64") {
		return fmt.Errorf("%s: this machine does not have level %s; its levels are %v", EnvLevel, level, Available())
	}
	active = level
	return nil
}

// Available lists the levels of this machine, lowest first.
func Available() []Level {
	list := []Level{Generic}
	switch {
	case machine == NEON:
		list = append(list, NEON)
	default:
		for l := AVX2; l <= machine; l++ {
			list = append(list, l)
		}
	}
	return list
}

// Limit makes level the active one, or the machine's where that is lower, and gives
// the function that undoes it.
func Limit(level Level) (undo func()) {
	before := active
	active = min(level, machine)
	return func() { active = before }
}
