// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Texts are labelled messages as vectors.
type Texts struct {
	// Train and Test are the vectors, with the labels beside them.
	Train, Test             []vector
	TrainLabels, TestLabels []int
	// Labels are the names, sorted, and Words the number of features.
	Labels []string
	Words  int
}

// vector is a sparse vector of length 1.
type vector struct {
	at []int32
	x  []float32
}

// Load reads train.csv and test.csv of a folder. Words are weighed by how rare they are in
// train.csv, for which no label is looked at.
func Load(dir string) (*Texts, error) {
	trainText, trainNames, err := readCSV(filepath.Join(dir, "train.csv"))
	if err != nil {
		return nil, err
	}
	testText, testNames, err := readCSV(filepath.Join(dir, "test.csv"))
	if err != nil {
		return nil, err
	}
	t := &Texts{Labels: slices.Compact(slices.Sorted(slices.Values(trainNames)))}
	number := map[string]int{}
	for i, name := range t.Labels {
		number[name] = i
	}
	for _, name := range trainNames {
		t.TrainLabels = append(t.TrainLabels, number[name])
	}
	for _, name := range testNames {
		i, has := number[name]
		if !has {
			return nil, fmt.Errorf("test.csv: category %q is not in train.csv", name)
		}
		t.TestLabels = append(t.TestLabels, i)
	}
	v := newVocabulary(trainText)
	t.Words = len(v.idf)
	for _, text := range trainText {
		t.Train = append(t.Train, v.vector(text))
	}
	for _, text := range testText {
		t.Test = append(t.Test, v.vector(text))
	}
	return t, nil
}

func readCSV(path string) (texts, names []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // only read
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(rows) < 2 || !slices.Equal(rows[0], []string{"text", "category"}) {
		return nil, nil, fmt.Errorf("%s: want columns text,category and rows", path)
	}
	for _, row := range rows[1:] {
		texts, names = append(texts, row[0]), append(names, row[1])
	}
	return texts, names, nil
}

// vocabulary numbers words and pairs of words that at least two texts have.
type vocabulary struct {
	number map[string]int32
	idf    []float64
}

func newVocabulary(texts []string) *vocabulary {
	counts := map[string]int{}
	for _, text := range texts {
		for term := range terms(text) {
			counts[term]++
		}
	}
	v := &vocabulary{number: map[string]int32{}}
	names := make([]string, 0, len(counts))
	for term, n := range counts {
		if n >= 2 {
			names = append(names, term)
		}
	}
	slices.Sort(names)
	for i, term := range names {
		v.number[term] = int32(i)
		v.idf = append(v.idf, 1+math.Log(float64(1+len(texts))/float64(1+counts[term])))
	}
	return v
}

// terms counts the words and pairs of a text.
func terms(text string) map[string]int {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	all := map[string]int{}
	for i, w := range words {
		all[w]++
		if i > 0 {
			all[words[i-1]+" "+w]++
		}
	}
	return all
}

func (v *vocabulary) vector(text string) vector {
	var out vector
	all := terms(text)
	for term := range all {
		if n, has := v.number[term]; has {
			out.at = append(out.at, n)
		}
	}
	slices.Sort(out.at) // so that sums do not depend on the order of a map
	names := make(map[int32]int, len(all))
	for term, n := range all {
		if i, has := v.number[term]; has {
			names[i] = n
		}
	}
	squares := 0.0
	for _, i := range out.at {
		x := (1 + math.Log(float64(names[i]))) * v.idf[i]
		out.x = append(out.x, float32(x))
		squares += x * x
	}
	for i := range out.x {
		out.x[i] /= float32(math.Sqrt(squares))
	}
	return out
}
