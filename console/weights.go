// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// featureWeight is how much a version of a model rests on a feature, as its card says.
type featureWeight struct {
	// Measure is what Value is of, such as mean attribution; Share is Value over that of the
	// heaviest feature, from 0 to 1.
	Measure      string
	Value, Share float64
	// Rank is from 1, among Of features.
	Rank, Of int
}

// Place is the rank in words for a table.
func (w *featureWeight) Place() string { return fmt.Sprintf("%d of %d", w.Rank, w.Of) }

// cardBytesMax is the most of a card that is read for the weights.
const cardBytesMax = 1 << 20

// featureWeights are the weights of the features of the version that is served, by name;
// nothing without a card, or where training found none.
func (c *Console) featureWeights(model string) map[string]*featureWeight {
	m := c.modelNamed(model)
	if m == nil || m.Current == 0 || c.options.ModelsDir == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(c.options.ModelsDir, filepath.Base(m.Name), strconv.FormatInt(m.Current, 10), "card.md"))
	if err != nil {
		return nil // a model from elsewhere has no card
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, cardBytesMax))
	if err != nil {
		return nil
	}
	return cardWeights(string(text))
}

// cardWeights reads the table of features of a card: a line of Markdown for each, with its
// name and type, then the mean attribution or the method's own importance.
func cardWeights(card string) map[string]*featureWeight {
	all := map[string]*featureWeight{}
	var sorted []*featureWeight
	measure := ""
	for line := range strings.Lines(card) {
		cells := cardCells(line)
		switch {
		case len(cells) >= 3 && cells[0] == "feature" && cells[1] == "type":
			measure = cells[2]
		case measure == "":
		case len(cells) < 3:
			return rankWeights(all, sorted) // the table ended
		default:
			if v, err := strconv.ParseFloat(cells[2], 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && all[cells[0]] == nil {
				w := &featureWeight{Measure: measure, Value: v}
				all[cells[0]], sorted = w, append(sorted, w)
			}
		}
	}
	return rankWeights(all, sorted)
}

// cardCells are the cells of a line of a table, nothing of any other line. What would be
// markup within one is escaped, a stroke too; a comment keeps words from becoming links.
func cardCells(line string) []string {
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '|' || line[len(line)-1] != '|' {
		return nil
	}
	var cells []string
	for cell := range strings.SplitSeq(line[1:len(line)-1], "|") {
		cell = strings.ReplaceAll(strings.TrimSpace(cell), "<!-- -->", "")
		var plain strings.Builder
		for i := 0; i < len(cell); i++ {
			if cell[i] == '\\' && i+1 < len(cell) {
				i++
			}
			plain.WriteByte(cell[i])
		}
		cells = append(cells, html.UnescapeString(plain.String()))
	}
	return cells
}

// rankWeights puts the heaviest first.
func rankWeights(all map[string]*featureWeight, sorted []*featureWeight) map[string]*featureWeight {
	slices.SortStableFunc(sorted, func(a, b *featureWeight) int {
		switch x, y := math.Abs(a.Value), math.Abs(b.Value); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for i, w := range sorted {
		w.Rank, w.Of = i+1, len(sorted)
		if most := math.Abs(sorted[0].Value); most > 0 {
			w.Share = math.Abs(w.Value) / most
		}
	}
	return all
}
