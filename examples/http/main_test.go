package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
)

// Case: a request that is repeated places no second order. The order's next request, with another key, is handled
// after both, so its line follows the first one's directly.
func TestRepeatedRequestIsHandledOnce(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ran := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-listen", "127.0.0.1:0"}, w)
		w.CloseWithError(err)
		ran <- err
	}()
	lines := bufio.NewScanner(r)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the program ended: %v", lines.Err())
		}
		return lines.Text()
	}
	url := next() + "/orders/7"
	for _, key := range []string{"k-1", "k-1", "k-2"} {
		request, err := http.NewRequestWithContext(ctx, "POST", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Idempotency-Key", key)
		request.Header.Set("X-Correlation-ID", "checkout-7")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("X-Correlation-ID"); response.StatusCode != http.StatusAccepted || got != "checkout-7" {
			t.Errorf("the answer is %s with correlation %q", response.Status, got)
		}
	}
	for _, want := range []string{"order/7: handled k-1", "order/7: handled k-2"} {
		if got := next(); got != want {
			t.Errorf("the line is %q, want %q", got, want)
		}
	}
	end()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
