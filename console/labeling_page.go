// SPDX-License-Identifier: Apache-2.0

package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// labelButton is a label as the page has it.
type labelButton struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Key   string `json:"key"`
}

// labelConfig is what the page's script is told; the rest it asks for.
type labelConfig struct {
	Project  string            `json:"project"`
	Who      string            `json:"who"`
	URL      string            `json:"url"`
	Kind     labeling.Kind     `json:"kind"`
	Review   bool              `json:"review"`
	Labels   []labelButton     `json:"labels"`
	Commands map[string]string `json:"commands"`
	Min      float64           `json:"min"`
	Max      float64           `json:"max"`
	// Bounded says that Min and Max bound a number.
	Bounded bool `json:"bounded"`
	// RenewMillis is how often the page renews its leases while its person is there.
	RenewMillis int64 `json:"renew_ms"`
}

// labelPageData is the page to label or to review.
type labelPageData struct {
	Config         labelConfig
	Heading, Guide string
	Overlap        int
	// Finds says that there are so many labels that one is looked for by name.
	Finds bool
}

// labelsSeen is how many labels somebody finds without help.
const labelsSeen = 20

// Bounds of how often leases are renewed.
const (
	renewMin = time.Second
	renewMax = time.Minute
)

func (c *Console) labelPage(w http.ResponseWriter, r *http.Request, review bool) error {
	p, err := c.labelingProject(r)
	if err != nil {
		return err
	}
	who, err := c.labeller(r)
	if err != nil {
		return err
	}
	keys, commands := assignKeys(&p.Labels)
	data := labelPageData{Heading: cmp.Or(p.Title, p.Name), Guide: p.Guide, Overlap: p.Overlap, Finds: len(p.Labels.Labels) > labelsSeen, Config: labelConfig{
		Project: p.Name, Who: who, URL: r.URL.Path + "/sync", Kind: p.Labels.Kind, Review: review, Commands: commands, Labels: []labelButton{},
		Min: p.Labels.Min, Max: p.Labels.Max, Bounded: p.Labels.Min != 0 || p.Labels.Max != 0,
		RenewMillis: min(max(p.Lease/3, renewMin), renewMax).Milliseconds(),
	}}
	for i, l := range p.Labels.Labels {
		data.Config.Labels = append(data.Config.Labels, labelButton{l.Name, cmp.Or(l.Title, l.Name), keys[i]})
	}
	return c.render(w, r, http.StatusOK, "label", data)
}
