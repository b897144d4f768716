// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package orchestrator

import "errors"

func mountSmall(string, int) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }
