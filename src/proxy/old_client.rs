//! Responses to clients of HTTP/1.0, who cannot read chunks.
//!
//! Why a module of Pingora's: what comes from a region in HTTP/2 without a length is made chunked by Pingora after
//! its filters have run, whatever the client speaks. Modules run later still. Only requests of such clients get one.

use std::any::Any;

use async_trait::async_trait;
use http::header;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, HttpModuleCtx, HttpModules, Module};

/// What a request of such a client takes along.
pub(super) fn modules() -> HttpModuleCtx {
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(Unchunked));
    modules.build_ctx()
}

/// Takes the coding off, so that the end of the connection is the end of the body.
struct Unchunked;

impl HttpModuleBuilder for Unchunked {
    fn init(&self) -> Module {
        Box::new(Self)
    }
}

#[async_trait]
impl HttpModule for Unchunked {
    async fn response_header_filter(&mut self, head: &mut ResponseHeader, _ends: bool) -> Result<()> {
        head.remove_header(&header::TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
