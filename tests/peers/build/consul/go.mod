module peers/consul

go 1.24.0

require (
	github.com/hashicorp/consul v1.16.6
	github.com/hashicorp/consul/troubleshoot v0.6.0
)

replace (
	github.com/hashicorp/consul/api => github.com/hashicorp/consul/api v1.25.1
	github.com/hashicorp/consul/envoyextensions => github.com/hashicorp/consul/envoyextensions v0.4.1
	github.com/hashicorp/consul/sdk => github.com/hashicorp/consul/sdk v0.14.1
	golang.org/x/exp => golang.org/x/exp v0.0.0-20230321023759-10a507213a29
)

exclude (
	github.com/hashicorp/go-msgpack v1.1.5
	github.com/hashicorp/go-msgpack v1.1.6
)
