// SPDX-License-Identifier: Apache-2.0

// Command argolint does what `argo lint --offline --strict` does, with Argo Workflows' own
// code: it reads the files that it is given by the published types, unknown fields being
// mistakes, and validates the workflows in them. It is a module of its own, so that what Argo
// needs is needed by nothing else here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/workflow/common"
	"github.com/argoproj/argo-workflows/v3/workflow/validate"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: argolint FILE...")
		os.Exit(2)
	}
	status := 0
	for _, path := range os.Args[1:] {
		if err := lint(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			status = 1
			continue
		}
		fmt.Printf("%s: valid\n", path)
	}
	os.Exit(status)
}

func lint(path string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	objects := common.ParseObjects(body, true)
	if len(objects) == 0 {
		return errors.New("there is nothing of Argo's in the file")
	}
	for _, o := range objects {
		err = errors.Join(err, o.Err)
		switch w := o.Object.(type) {
		case *wfv1.Workflow:
			err = errors.Join(err, validate.ValidateWorkflow(nil, nil, w, nil, validate.ValidateOpts{}))
		case *wfv1.CronWorkflow:
			err = errors.Join(err, validate.ValidateCronWorkflow(context.Background(), nil, nil, w, nil))
		default:
			err = errors.Join(err, fmt.Errorf("%T, want a Workflow or a CronWorkflow", o.Object))
		}
	}
	return err
}
