// SPDX-License-Identifier: GPL-2.0-or-later

//go:build tools

// Package tools makes the main package of Consul a dependency of this module, so that it can be built.
package tools

import _ "github.com/hashicorp/consul"
