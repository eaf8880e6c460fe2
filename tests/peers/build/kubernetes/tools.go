// SPDX-License-Identifier: GPL-2.0-or-later

//go:build tools

// Package tools makes the programs of Kubernetes dependencies of this module, so that they can be built.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
