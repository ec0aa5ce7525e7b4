package rpc

import (
	"compress/zlib"
	"io"

	"connectrpc.com/connect"
)

// deflate is a compression that gRPC's clients may use besides gzip; the name means zlib's format there, as in HTTP.
func deflate() connect.HandlerOption {
	return connect.WithCompression("deflate",
		func() connect.Decompressor { return &inflater{} },
		func() connect.Compressor { return zlib.NewWriter(io.Discard) },
	)
}

// inflater decompresses one message after the other.
type inflater struct{ reader io.ReadCloser }

// Reset begins with another message.
func (inflater *inflater) Reset(compressed io.Reader) (err error) {
	if inflater.reader == nil {
		inflater.reader, err = zlib.NewReader(compressed)
		return err
	}
	return inflater.reader.(zlib.Resetter).Reset(compressed, nil)
}

// Read gives the message. Before the first Reset there is none.
func (inflater *inflater) Read(plain []byte) (int, error) {
	if inflater.reader == nil {
		return 0, io.EOF
	}
	return inflater.reader.Read(plain)
}

// Close ends the message.
func (inflater *inflater) Close() error {
	if inflater.reader == nil {
		return nil
	}
	return inflater.reader.Close()
}
