// Command inventory runs the shop's inventory service, which reserves stock for orders, releases it when they are
// cancelled, and restocks what is returned.
package main

import (
	"tidings.dev/examples/shop/inventory"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("inventory", "reserves, releases and restocks").React(inventory.Register)
}
