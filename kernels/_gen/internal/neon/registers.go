// SPDX-License-Identifier: Apache-2.0

package neon

import (
	"fmt"
	"math/big"
)

// general are the numbers of the general registers that code may use: R18 is the
// system's, R27 the assembler's, R28 to R30 are the goroutine, the frame and the link.
var general = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26}

// assign gives each register a number that no other one has which is needed at the
// same time. Registers take the lowest number that is free, in the order in which they
// first appear; for code without branches no other order needs fewer.
func (f *Func) assign(name string) []int {
	live := f.liveness(name)
	apart := make([]big.Int, len(f.kinds)) // the registers that each must not share with
	for i := range f.code {
		for _, d := range f.code[i].def {
			apart[d].Or(&apart[d], &live[i])
			for _, other := range f.code[i].def {
				apart[d].SetBit(&apart[d], int(other), 1)
			}
		}
	}
	numbers := make([]int, len(f.kinds))
	for r := range numbers {
		numbers[r] = -1
	}
	for _, i := range f.code {
		for _, d := range i.def {
			if numbers[d] < 0 {
				numbers[d] = f.lowest(name, d, apart, numbers)
			}
		}
	}
	return numbers
}

// lowest is the lowest number of those not taken by registers that r is apart from,
// whichever of two says so.
func (f *Func) lowest(name string, r register, apart []big.Int, numbers []int) int {
	var taken [32]bool
	for other, n := range numbers {
		if n >= 0 && f.kinds[other] == f.kinds[r] && (apart[r].Bit(other) == 1 || apart[other].Bit(int(r)) == 1) {
			taken[n] = true
		}
	}
	if f.kinds[r] == 'R' {
		for _, n := range general {
			if !taken[n] {
				return n
			}
		}
	} else {
		for n := range taken {
			if !taken[n] {
				return n
			}
		}
	}
	panic(fmt.Sprintf("%s needs more registers of kind %c than there are", name, f.kinds[r]))
}

// liveness is, for each instruction, the registers whose values are needed after it.
func (f *Func) liveness(name string) (after []big.Int) {
	at := map[string]int{}
	for i, in := range f.code {
		if in.label != "" {
			at[in.label] = i
		}
	}
	after, before := make([]big.Int, len(f.code)), make([]big.Int, len(f.code)+1)
	for changed := true; changed; {
		changed = false
		for i := len(f.code) - 1; i >= 0; i-- {
			in := &f.code[i]
			var need big.Int
			if !in.stops {
				need.Set(&before[i+1])
			}
			if in.to != "" {
				target, ok := at[in.to]
				if !ok {
					panic(name + " has no label " + in.to)
				}
				need.Or(&need, &before[target])
			}
			after[i].Set(&need)
			for _, d := range in.def {
				need.SetBit(&need, int(d), 0)
			}
			for _, u := range in.use {
				need.SetBit(&need, int(u), 1)
			}
			if need.Cmp(&before[i]) != 0 {
				before[i].Set(&need)
				changed = true
			}
		}
	}
	if before[0].BitLen() > 0 {
		panic(fmt.Sprintf("%s reads register %d before it is written", name, before[0].BitLen()-1))
	}
	return after
}
