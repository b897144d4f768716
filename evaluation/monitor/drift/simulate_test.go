// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// worlds are ways in which a column can be distributed.
var worlds = map[string]func(r *rand.Rand) float64{
	"normal":    func(r *rand.Rand) float64 { return r.NormFloat64() },
	"lognormal": func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) },
	"integers":  func(r *rand.Rand) float64 { return math.Floor(4 * r.ExpFloat64()) },
	"zeros":     func(r *rand.Rand) float64 { return math.Max(0, r.NormFloat64()-0.5) },
}

// TestFalseAlarms counts the alarms at the 1 % level of windows in which nothing changed.
// The bounds are those of the promise, 0.5 to 1.5 %, with three and a half standard errors for chance.
// MILLRACE_SIMULATION=1 asks for more of it, and larger windows.
func TestFalseAlarms(t *testing.T) {
	sizes, draws, all := [][2]int{{50, 50}, {60, 200}}, 1000, false
	if os.Getenv("MILLRACE_SIMULATION") != "" {
		all = true
		sizes, draws = [][2]int{{50, 50}, {50, 400}, {50, 10000}, {200, 200}, {1000, 1000}, {1000, 10000}, {10000, 10000}}, 6000
	}
	for name, world := range worlds {
		if !all && (name == "lognormal" || name == "integers") {
			continue // ranks are those of normal; zeros has ties as well
		}
		for _, size := range sizes {
			draws := min(draws, max(1000, 3_000_000/(size[0]+size[1])))
			r := rand.New(rand.NewPCG(uint64(size[0]), uint64(size[1])))
			alarms := map[Test]int{}
			for range draws {
				n := NewReference(sample(r, world, size[1])).Against(sample(r, world, size[0]))
				for _, test := range []Test{PSI, JensenShannon, GTest, ChiSquared, KS, CvM} {
					result, err := n.Test(test, 0)
					if err != nil {
						t.Fatal(err)
					}
					if result.P <= DefaultLevel {
						alarms[test]++
					}
				}
			}
			for test, count := range alarms {
				bounds(t, name, size, string(test), count, draws)
			}
		}
	}
}

func bounds(t *testing.T, name string, size [2]int, test string, count, draws int) {
	t.Helper()
	share := float64(count) / float64(draws)
	slack := 3.5 * math.Sqrt(0.01*0.99/float64(draws))
	if os.Getenv("MILLRACE_SIMULATION") != "" {
		t.Logf("%-10s %6d/%6d %-15s %.2f %%", name, size[0], size[1], test, 100*share)
	}
	if share > 0.015+slack || share < 0.005-slack {
		t.Errorf("%s, %v rows, %s: %.2f %% of windows alarm, want 0.5 to 1.5 %%", name, size, test, 100*share)
	}
}

func sample(r *rand.Rand, world func(r *rand.Rand) float64, rows int) []float64 {
	values := make([]float64, rows)
	for i := range values {
		values[i] = world(r)
	}
	return values
}

// TestFalseAlarmsOfCategories does so for categories: few, many, and most of them rare.
func TestFalseAlarmsOfCategories(t *testing.T) {
	sizes, draws := [][2]int{{50, 50}, {50, 1000}}, 200
	if os.Getenv("MILLRACE_SIMULATION") != "" {
		sizes, draws = append(sizes, [2]int{50, 10000}, [2]int{200, 200}, [2]int{10000, 10000}, [2]int{100000, 100000}), 6000
	}
	shapes := map[string][]float64{"four": weights(4, 0.5), "thirty": weights(30, 1), "many": weights(500, 1)}
	for name, cumulative := range shapes {
		for _, size := range sizes {
			draws := min(draws, max(200, 20_000_000/(size[0]+size[1])))
			r := rand.New(rand.NewPCG(uint64(size[0]), uint64(size[1])))
			alarms := map[Test]int{PSI: 0, JensenShannon: 0, GTest: 0, ChiSquared: 0, Missing: 0}
			if name == "many" && size[0] == 50 {
				alarms[Unseen] = 0
			}
			for range draws {
				table := Table{multinomial(r, cumulative, size[1]), multinomial(r, cumulative, size[0])}
				for test := range alarms {
					var result Result
					var err error
					switch test {
					case Unseen:
						result, err = table.UnseenRows(0)
					case Missing:
						result, err = MissingRate(table.Reference[1], size[1], table.Current[1], size[0])
					default:
						result, err = table.Test(test, 0)
					}
					if err != nil {
						t.Fatal(err)
					}
					if result.P <= DefaultLevel {
						alarms[test]++
					}
				}
			}
			for test, count := range alarms {
				bounds(t, name, size, string(test), count, draws)
			}
		}
	}
}

// weights are the cumulative shares of categories whose frequency falls with their rank.
func weights(k int, power float64) []float64 {
	w, sum := make([]float64, k), 0.0
	for i := range w {
		sum += math.Pow(float64(i+1), -power)
		w[i] = sum
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}

func multinomial(r *rand.Rand, cumulative []float64, rows int) []int {
	counts := make([]int, len(cumulative))
	for range rows {
		u, low, high := r.Float64(), 0, len(cumulative)-1
		for low < high {
			if mid := (low + high) / 2; cumulative[mid] < u {
				low = mid + 1
			} else {
				high = mid
			}
		}
		counts[low]++
	}
	return counts
}
