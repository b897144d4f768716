// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const interopRows = 200

// expected is what row i of a column of testdata is: an int64, a float64 or a string, as
// make.py computes it.
func expected(name string, i int) any {
	n := int64(i)
	micros := 1_700_000_000_000_000 + n*86_400_123_457
	if i%5 == 4 {
		micros -= 4_000_000_000_000_000
	}
	switch name {
	case "i8":
		return n - 100
	case "i32":
		return n*7_000_001 - 300
	case "i64":
		return n*10_000_000_000_019 - 7
	case "u32":
		return 4_000_000_000 + n
	case "u64":
		return math.MinInt64 + n // the bits of 2^63 + n
	case "f16":
		return float64(i)/4 - 20
	case "f32":
		return float64(i)/8 - 5
	case "f64":
		return float64(i)/3 - 5
	case "bool":
		return map[bool]float64{true: 1}[i%3 == 0]
	case "text":
		return fmt.Sprintf("value %d", i%20)
	case "long":
		return fmt.Sprintf("prefix of all %d%s", i*i, strings.Repeat("é", i%4))
	case "bytes":
		return strings.Repeat(string([]byte{byte(i)}), i%5)
	case "ms":
		return floorDiv(micros, 1000) * 1000
	case "us", "ns":
		return micros
	case "date":
		return (n*11 - 500) * 86_400_000_000
	case "d9":
		return ratio(n*12345-99999, 100)
	case "d18":
		return ratio(n*987654321-5_000_000_000, 10_000)
	case "d38":
		return ratio(n*987654321-5_000_000_000, 10_000_000_000)
	case "required", "last":
		return n
	case "uuid":
		x := new(big.Int).Exp(big.NewInt(10), big.NewInt(36), nil)
		x.Add(x.Mul(x, big.NewInt(n)), big.NewInt(n))
		h := fmt.Sprintf("%032x", x)
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// ratio is the float nearest to a/b.
func ratio(a, b int64) float64 {
	f, _ := new(big.Rat).SetFrac64(a, b).Float64()
	return f
}

func openTest(t testing.TB, path string) *File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it was only read
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := Open(f, info.Size())
	if err != nil {
		t.Fatal(path, err)
	}
	return file
}

// all is every value of a column, nil for nulls.
func all(t testing.TB, f *File, l *Leaf) []any {
	t.Helper()
	var got []any
	var v Values
	var s Scratch
	for g := range f.Groups() {
		c, err := f.Chunk(g, l)
		if err != nil {
			t.Fatal(err)
		}
		for p := range c.Pages() {
			if err := c.Decode(p, &v, &s); err != nil {
				t.Fatal(err)
			}
			for i := range v.Rows {
				got = append(got, at(&v, i))
			}
		}
	}
	return got
}

func at(v *Values, i int) any {
	if len(v.Nulls) > 0 && v.Nulls[i] {
		return nil
	}
	switch v.Kind {
	case Bools, Floats:
		return v.Numbers[i]
	case Texts:
		return v.Texts[i]
	}
	return v.Ints[i]
}

// Files of other programs, in every encoding, compression and page version that they
// have, hold what they were given.
func TestFilesOfOtherPrograms(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) < 8 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f := openTest(t, path)
		if f.Rows() != interopRows {
			t.Fatalf("%s: %d rows", path, f.Rows())
		}
		for i := range f.Leaves() {
			l := &f.Leaves()[i]
			if l.Name == "time" {
				if l.Refused == "" {
					t.Errorf("%s: times of day are taken", path)
				}
				continue
			}
			if l.Refused != "" {
				t.Fatalf("%s: %s: %s", path, l.Name, l.Refused)
			}
			got := all(t, f, l)
			if len(got) != interopRows {
				t.Fatalf("%s: %s: %d rows", path, l.Name, len(got))
			}
			for row := range got {
				want := expected(l.Name, row)
				if row%7 == 3 && l.Name != "required" {
					want = nil
				}
				if got[row] != want {
					t.Fatalf("%s: %s (%s), row %d: %v, want %v", path, l.Name, l.Stored, row, got[row], want)
				}
			}
		}
		if strings.Contains(path, "arrow") {
			for _, name := range []string{"list", "struct"} {
				if l, why := f.Leaf(name); l != nil || why == "" {
					t.Errorf("%s: nested column %s: %v, %q", path, name, l, why)
				}
			}
		}
	}
}
