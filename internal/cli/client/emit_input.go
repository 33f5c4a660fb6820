package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
)

const (
	// maxLineBytes is the maximum length of an input line in bytes. Brokers refuse much shorter records.
	maxLineBytes = 16 << 20
	// blockBytes is the maximum size of an input block in bytes, unless a single line is longer.
	blockBytes = 128 << 10
)

// inputBlock is a sequence of lines of an input. The data of its lines share the memory of text.
type inputBlock struct {
	first int    // number of the first line, from 1
	text  []byte // complete lines, except for the end of the input
	err   error  // the error of reading the input after text; nil if there is none
	last  bool   // whether the input ends with it

	checked chan struct{} // closed when check has returned
	lines   []inputLine   // lines that are not blank, up to the first invalid one; set by check
}

// inputLine is one line of the input, or the error that ended the input.
type inputLine struct {
	number  int    // line number, from 1
	data    []byte // JSON without surrounding blanks
	subject string // subject of the event, filled in from data
	err     error
}

// readBlocks returns a channel of the blocks of an input, in order. A goroutine reads the blocks, and one further
// goroutine per block checks it. The channel is closed at the end of the input, after an error of reading, or when
// ctx is done. A byte order mark at the beginning of the input is left out, and so are the lines before line from, which may have
// any length and any bytes.
//
// A block is sent as soon as it has a complete line, so that the lines of a program that writes slowly are not held
// back.
func readBlocks(ctx context.Context, in io.Reader, from int, subject subjectPattern) <-chan *inputBlock {
	blocks := make(chan *inputBlock, runtime.GOMAXPROCS(0)) // the capacity limits the number of concurrent checks
	go func() {                                             // may outlive ctx, as a read of stdin cannot be interrupted
		defer close(blocks)
		number := 1
		var text []byte
		var err error
		if from > 1 {
			whole := bufio.NewReaderSize(in, blockBytes)
			number, err = skipLines(ctx, whole, from)
			in = whole
		}
		r := blockReader{in: in}
		for {
			if err == nil {
				text, err = r.next()
			}
			b := &inputBlock{first: number, text: text, err: err, last: err != nil, checked: make(chan struct{})}
			if errors.Is(err, io.EOF) {
				b.err = nil
			}
			number += bytes.Count(text, []byte("\n"))
			select {
			case blocks <- b:
				go b.check(subject)
			case <-ctx.Done():
				return
			}
			if b.last {
				return
			}
		}
	}()
	return blocks
}

// check sets b.lines. It stops at the first invalid line, whose error it sets.
func (b *inputBlock) check(subject subjectPattern) {
	defer close(b.checked)
	number, rest := b.first, b.text
	if number == 1 {
		var err error
		if rest, err = cutByteOrderMark(rest); err != nil {
			b.lines = append(b.lines, inputLine{number: number, err: err})
			return
		}
	}
	for ; len(rest) > 0; number++ {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte("\n"))
		data := bytes.TrimSpace(text)
		if len(data) == 0 {
			continue
		}
		line := inputLine{number: number, data: data}
		if line.err = asJSONError(checkJSON(data), bytes.Index(text, data)); line.err == nil {
			line.subject, line.err = subject.fill(data)
		}
		b.lines = append(b.lines, line)
		if line.err != nil {
			return
		}
	}
	if b.err != nil {
		b.lines = append(b.lines, inputLine{number: number, err: b.err})
	}
}

// skipLines reads the lines of an input before line from, in bounded memory. It returns the number of the line that is read next,
// which is lower than from if the input ends before or cannot be read. It returns an error if the input is UTF-16.
func skipLines(ctx context.Context, in *bufio.Reader, from int) (number int, err error) {
	mark, _ := in.Peek(2) // an error comes again
	if _, err := cutByteOrderMark(mark); err != nil {
		return 1, err
	}
	for number = 1; number < from; {
		switch _, err := in.ReadSlice('\n'); {
		case err == nil:
			number++
		case !errors.Is(err, bufio.ErrBufferFull):
			return number, err
		}
		if ctx.Err() != nil {
			return number, context.Cause(ctx)
		}
	}
	return number, nil
}

// blockReader cuts an input into blocks of whole lines.
type blockReader struct {
	in   io.Reader
	rest []byte // bytes that were read after the last newline
}

// next returns the next block, which ends with a newline. For the text after the last newline of the input, which may
// be empty, it also returns io.EOF. If reading fails or a line is longer than maxLineBytes, next returns the complete
// lines before it together with the error.
func (r *blockReader) next() ([]byte, error) {
	block := append(make([]byte, 0, max(blockBytes, 2*len(r.rest))), r.rest...)
	for {
		if len(block) == cap(block) {
			block = append(make([]byte, 0, 2*cap(block)), block...)
		}
		n, err := r.in.Read(block[len(block):cap(block)])
		searched := len(block) // the bytes before have no newline
		block = block[:searched+n]
		end := searched + bytes.LastIndexByte(block[searched:], '\n') + 1
		if end == searched {
			end = 0
		}
		tooLong := len(block)-end > maxLineBytes
		switch {
		case end > 0 && err == nil && !tooLong:
			r.rest = block[end:]
			return block[:end:end], nil
		case tooLong:
			return block[:end:end], fmt.Errorf("longer than %d MiB", maxLineBytes>>20)
		case errors.Is(err, io.EOF):
			return block, io.EOF
		case err != nil:
			return block[:end:end], err
		}
	}
}
