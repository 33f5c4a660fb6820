// Command warehouse runs the shop's warehouse service, which ships orders that are paid and reserved.
package main

import (
	"tidings.dev/examples/shop/service"
	"tidings.dev/examples/shop/warehouse"
)

func main() {
	service.New("warehouse", "ships what is paid and reserved").React(warehouse.Register)
}
