// Command email runs the shop's email service, which writes to customers.
package main

import (
	"tidings.dev/examples/shop/email"
	"tidings.dev/examples/shop/service"
)

func main() {
	service.New("email", "writes to customers").React(email.Register)
}
