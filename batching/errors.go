// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"context"
	"errors"
	"fmt"
)

// Refusals. The item did not run, so the caller may send it again elsewhere.
var (
	// ErrQueueFull says that the queue, or the queue of the item's priority level,
	// is at its bound. Retry after a pause. The words are what clients look for.
	//lint:ignore ST1005 the text is part of the public protocol
	ErrQueueFull = errors.New("Exceeds maximum queue size")
	// ErrTimeout says that the item waited longer than its queue policy allows.
	//lint:ignore ST1005 the text is part of the public protocol
	ErrTimeout = errors.New("Request timeout expired")
	// ErrDeadline says that the item could no longer be answered by its deadline.
	// It is a context.DeadlineExceeded too.
	ErrDeadline = fmt.Errorf("refused, the deadline cannot be met: %w", context.DeadlineExceeded)
	// ErrClosed says that the batcher no longer takes requests. Do not retry here.
	ErrClosed = errors.New("batcher is closed")
	// ErrInvalidItem says that the caller handed over an item that cannot be queued.
	ErrInvalidItem = errors.New("invalid item")
	// ErrInvalidOptions says that the options contradict themselves or their limits.
	ErrInvalidOptions = errors.New("invalid batching options")
)
