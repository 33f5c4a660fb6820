// Command inventory runs the shop's inventory service: reserves, releases and restocks.
package main

import (
	"tidings.dev/examples/shop/inventory"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("inventory", "reserves, releases and restocks").React(inventory.Register)
}
