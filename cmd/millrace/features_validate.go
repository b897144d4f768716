// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// validation is what `features validate` answers.
type validation struct {
	Files    []string          `json:"files"`
	Hash     string            `json:"hash,omitempty"`
	Mistakes []mistake         `json:"mistakes,omitempty"`
	Breaks   []breakage        `json:"breaks,omitempty"`
	Entities []definedEntity   `json:"entities,omitempty"`
	Sources  []definedSource   `json:"sources,omitempty"`
	Views    []definedFeatures `json:"views,omitempty"`
	Lookups  []definedFeatures `json:"lookups,omitempty"`
	Services []definedService  `json:"services,omitempty"`
}

type mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

type breakage struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Service string `json:"service,omitempty"`
	Model   string `json:"model,omitempty"`
}

type definedEntity struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	Type string `json:"type"`
}

type definedSource struct {
	Name   string   `json:"name"`
	Push   bool     `json:"push"`
	Fields []string `json:"fields"`
	Inputs []string `json:"inputs,omitempty"`
}

type definedFeatures struct {
	Name     string   `json:"name"`
	Entities []string `json:"entities"`
	Source   string   `json:"source"`
	Features []string `json:"features"`
}

type definedService struct {
	Name     string   `json:"name"`
	Model    string   `json:"model,omitempty"`
	Keys     []string `json:"keys"`
	Request  []string `json:"request,omitempty"`
	Features []string `json:"features"`
}

func (o *featuresOptions) validateCommand() *cobra.Command {
	var against []string
	cmd := &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "Check definitions, and what a change of them would break",
		Long: `Check definitions: every mistake is reported, by file, line and column.

With --against it also reports what would break models and clients of the old
definitions. The status is 1 if there is a mistake or a break.`,
		Example: `  millrace features validate
  millrace features validate features.yaml services.yaml --json
  millrace features validate features.yaml --against released/features.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(o.definitions) > 0 {
				return usageError{errors.New("name the files as arguments or with --definitions, not both")}
			}
			if len(args) > 0 {
				o.definitions = args
			}
			files, err := o.files()
			if err != nil {
				return err
			}
			return o.validate(cmd.OutOrStdout(), files, against)
		},
	}
	o.addDefinitions(cmd.Flags())
	cmd.Flags().StringArrayVar(&against, "against", nil, "`file` of the definitions that are served now; repeat for several")
	return cmd
}

func (o *featuresOptions) validate(w io.Writer, files, against []string) error {
	v := &validation{Files: files}
	c, err := definition.Load(files...)
	var mistakes definition.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			v.Mistakes = append(v.Mistakes, mistake(m))
		}
		err := o.show(w, v, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, mistakes)
			return err
		})
		return errors.Join(err, fmt.Errorf("the definitions have %s", counted(len(mistakes), "mistake")))
	} else if err != nil {
		return err
	}
	if err := v.compare(c, against); err != nil {
		return err
	}
	v.describe(c)
	if err := o.show(w, v, v.table); err != nil {
		return err
	}
	if len(v.Breaks) > 0 {
		return fmt.Errorf("the definitions break what is served in %s", counted(len(v.Breaks), "place"))
	}
	return nil
}

func (v *validation) compare(c *definition.Catalog, against []string) error {
	if len(against) == 0 {
		return nil
	}
	old, err := loadCatalog(against)
	if err != nil {
		return fmt.Errorf("--against: %w", err)
	}
	for _, b := range definition.Compare(old, c) {
		v.Breaks = append(v.Breaks, breakage(b))
	}
	return nil
}

// describe lists what is defined.
func (v *validation) describe(c *definition.Catalog) {
	v.Hash = hex.EncodeToString(c.Hash[:])
	for _, e := range c.Entities {
		v.Entities = append(v.Entities, definedEntity{e.Name, e.Key, e.Type.String()})
	}
	for _, s := range c.Sources {
		d := definedSource{Name: s.Name, Push: s.Push, Fields: fieldTexts(s.Fields)}
		for i := range s.Inputs {
			d.Inputs = append(d.Inputs, inputText(&s.Inputs[i]))
		}
		v.Sources = append(v.Sources, d)
	}
	for _, view := range c.Views {
		d := definedFeatures{Name: view.Name, Entities: entityNames(view.Entities), Source: view.Source.Name}
		for _, f := range view.Features {
			d.Features = append(d.Features, f.Name)
		}
		v.Views = append(v.Views, d)
	}
	for _, l := range c.Lookups {
		d := definedFeatures{Name: l.Name, Entities: entityNames(l.Entities), Source: l.Source.Name}
		for _, f := range l.Fields {
			d.Features = append(d.Features, l.Source.Fields[f].Name)
		}
		v.Lookups = append(v.Lookups, d)
	}
	for _, s := range c.Services {
		d := definedService{Name: s.Name, Model: s.Model, Request: fieldTexts(s.Request)}
		for _, e := range s.Entities {
			d.Keys = append(d.Keys, e.Key+" "+e.Type.String())
		}
		for i := range s.Features {
			d.Features = append(d.Features, s.Features[i].Name)
		}
		v.Services = append(v.Services, d)
	}
}

func fieldTexts(fields []definition.Field) []string {
	var texts []string
	for _, f := range fields {
		texts = append(texts, f.Name+" "+f.Type.String())
	}
	return texts
}

func entityNames(entities []*definition.Entity) []string {
	var names []string
	for _, e := range entities {
		names = append(names, e.Name)
	}
	return names
}

// inputText names an input; a connection string may hold a password.
func inputText(in *definition.Input) string {
	if in.Path == "" {
		return in.Format.String() + " query"
	}
	return in.Format.String() + " " + in.Path
}

func (v *validation) table(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s, %s, %s, %s, %s; hash %.12s\n\n", strings.Join(v.Files, ", "),
		counted(len(v.Entities), "entity"), counted(len(v.Sources), "source"), counted(len(v.Views), "view"),
		counted(len(v.Lookups), "lookup"), counted(len(v.Services), "service"), v.Hash)
	table := newTable(w, "KIND\tNAME\tOF\tSOURCE\tFEATURES")
	for _, s := range v.Sources {
		push := "files only"
		if s.Push {
			push = "push"
		}
		fmt.Fprintf(table, "source\t%s\t%s\t%s\t%s\n", s.Name, push, counted(len(s.Inputs), "input"), counted(len(s.Fields), "field"))
	}
	for _, d := range v.Views {
		fmt.Fprintf(table, "view\t%s\t%s\t%s\t%d\n", d.Name, strings.Join(d.Entities, ", "), d.Source, len(d.Features))
	}
	for _, d := range v.Lookups {
		fmt.Fprintf(table, "lookup\t%s\t%s\t%s\t%d\n", d.Name, strings.Join(d.Entities, ", "), d.Source, len(d.Features))
	}
	for _, s := range v.Services {
		fmt.Fprintf(table, "service\t%s\t%s\t\t%d\n", s.Name, strings.Join(s.Keys, ", "), len(s.Features))
	}
	if err := table.Flush(); err != nil || len(v.Breaks) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nThis breaks what is served:")
	for _, b := range v.Breaks {
		fmt.Fprintf(w, "  %s: %s%s\n", b.Path, b.Message, affected(b))
	}
	return nil
}

// affected says whose vectors a break changes.
func affected(b breakage) string {
	if b.Model == "" {
		return ""
	}
	return fmt.Sprintf(" (model %s)", b.Model)
}
