// SPDX-License-Identifier: Apache-2.0

package command

import "syscall"

// endWithUs has the system kill the program when the thread ends that started it, which is
// when this process is killed: the thread is kept for as long as the program runs.
func endWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
