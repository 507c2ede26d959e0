//! What our sessions answer alike when Pingora asks: where they come from, what went through them, what is kept of a
//! body, that they carry no messages besides. A macro, because these are methods of a foreign trait over fields of either.
//!
//! Never: does anything.

/// What of a body is kept for a further attempt; as much as Pingora keeps in sessions of its own.
pub(super) const KEPT: usize = 64 * 1024;

/// Methods of a session that has `digest`, `kept`, and counts of bytes `sent` and `read`.
macro_rules! what_sessions_share {
    () => {
        fn body_bytes_sent(&self) -> usize {
            self.sent
        }

        fn body_bytes_read(&self) -> usize {
            self.read
        }

        fn digest(&self) -> Option<&Digest> {
            Some(&self.digest)
        }

        fn client_addr(&self) -> Option<&SocketAddr> {
            self.digest.socket_digest.as_ref()?.peer_addr()
        }

        fn server_addr(&self) -> Option<&SocketAddr> {
            self.digest.socket_digest.as_ref()?.local_addr()
        }

        fn pseudo_raw_h1_request_header(&self) -> Bytes {
            Bytes::new() // the gate has seen the head as it came; nobody asks for it as text
        }

        fn enable_retry_buffering(&mut self) {
            self.kept.get_or_insert_with(|| FixedBuffer::new($crate::proxy::sessions::KEPT));
        }

        fn retry_buffer_truncated(&self) -> bool {
            self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
        }

        fn get_retry_buffer(&self) -> Option<Bytes> {
            self.kept.as_ref().filter(|kept| !kept.is_truncated())?.get_buffer()
        }

        fn take_custom_message_reader(
            &mut self,
        ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
            None
        }

        fn restore_custom_message_reader(
            &mut self,
            _reader: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
        ) -> Result<()> {
            Ok(())
        }

        fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
            None
        }

        fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
            Ok(())
        }
    };
}

pub(super) use what_sessions_share;
