// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The shape is what the schemas of Jenkins and of windyroad/JUnit-Schema both allow.
type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Package    string          `xml:"package,attr"`
	ID         int             `xml:"id,attr"`
	Name       string          `xml:"name,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
	Err        string          `xml:"system-err"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a test case for each gate, as XML that test reports of build servers
// understand. A gate that does not hold is a failure; one that only warns passes and is
// told in the suite's output.
func WriteJUnit(w io.Writer, r *Report) error { return WriteJUnitAll(w, []*Report{r}) }

// WriteJUnitAll writes one document with a suite for each report.
func WriteJUnitAll(w io.Writer, reports []*Report) error {
	var all junitSuites
	for i, r := range reports {
		suite := junitOf(r)
		suite.ID = i
		all.Suites = append(all.Suites, suite)
	}
	data, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write report as JUnit: %w", err)
	}
	if _, err := io.WriteString(w, xml.Header+string(data)+"\n"); err != nil {
		return fmt.Errorf("write report as JUnit: %w", err)
	}
	return nil
}

func junitOf(r *Report) junitSuite {
	r = finite(r)
	suite := junitSuite{
		Package: "millrace.evaluate", Name: r.title(), Hostname: "localhost",
		Timestamp: r.Created.UTC().Format("2006-01-02T15:04:05"), Time: "0",
	}
	for _, fact := range r.facts() {
		suite.Properties = append(suite.Properties, junitProperty{fact[0], fact[1]})
	}
	suite.Properties = append(suite.Properties, junitProperty{"Verdict", string(r.Verdict)})
	out := []string{r.verdictSentence()}
	seen := make(map[string]int, len(r.Gates))
	for i, g := range r.Gates {
		c := junitCase{Name: caseName(g, i, seen), Class: "gates", Time: "0"}
		switch g.status() {
		case "failed":
			suite.Failures++
			c.Failure = &junitFailure{Message: gateReason(g), Type: "gate", Text: gateText(g)}
		case "warning":
			out = append(out, "warning: "+c.Name+": "+gateReason(g))
		}
		suite.Cases = append(suite.Cases, c)
	}
	for _, warning := range r.Warnings {
		out = append(out, "warning: "+visible(warning))
	}
	for _, f := range r.Leakage {
		out = append(out, "leakage: "+findingWords(f))
	}
	suite.Tests, suite.Out = len(suite.Cases), strings.Join(out, "\n")
	return suite
}

// caseName names a gate; build servers take cases of one name for one, so that a second
// gate of a name gets its place.
func caseName(g Gate, i int, seen map[string]int) string {
	name := visible(g.Name)
	if name == "" {
		name = fmt.Sprintf("gate %d", i+1)
	}
	if seen[name]++; seen[name] > 1 {
		name = fmt.Sprintf("%s (gate %d)", name, i+1)
	}
	return name
}

// gateReason says why a gate does not hold, as well as is known.
func gateReason(g Gate) string {
	if g.Reason != "" {
		return visible(g.Reason)
	}
	return fmt.Sprintf("%s does not hold: observed %s", visible(g.Condition), visible(g.Observed))
}

func gateText(g Gate) string {
	return fmt.Sprintf("condition: %s\nobserved: %s\n", visible(g.Condition), visible(g.Observed))
}
