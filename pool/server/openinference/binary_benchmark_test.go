package openinference

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
)

// binaryBody is a call of one tensor of UINT8, as JSON and binary data behind it.
func binaryBody(size int) (body []byte, headLength string) {
	head := fmt.Sprintf(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","datatype":"UINT8",`+
		`"shape":[%d],"parameters":{"binary_data_size":%d}}]}`, size, size)
	return append([]byte(head), bytes.Repeat([]byte("0123456789abcdef"), size/16)...), strconv.Itoa(len(head))
}

// BenchmarkBinaryInfer is a whole call by HTTP/1.1 on this machine: the client's send, the identity model, the client's
// read. Bytes count once each way. Allocations are the client's and the door's together.
func BenchmarkBinaryInfer(b *testing.B) {
	for _, size := range []int{1 << 20, 16 << 20} {
		b.Run(strconv.Itoa(size>>20)+"MB", func(b *testing.B) {
			node := startReal(b, engines["shm"](b))
			body, headLength := binaryBody(size)
			client := &http.Client{Transport: &http.Transport{WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10}}
			defer client.CloseIdleConnections()
			b.SetBytes(int64(2 * size))
			b.ReportAllocs()
			for b.Loop() {
				request, _ := http.NewRequest(http.MethodPost, node.url, bytes.NewReader(body))
				request.Header.Set(headLengthHeader, headLength)
				answer, err := client.Do(request)
				if err != nil {
					b.Fatal(err)
				}
				read, err := io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if err != nil || answer.StatusCode != http.StatusOK || read < int64(size) {
					b.Fatal(answer.Status, read, err)
				}
			}
		})
	}
}
