//! Several tasks at once, their results in order.

use crate::error::TaskError;
use crate::handle::TaskResult;
use crate::master::Master;
use crate::placed::Placed;
use dpfw_protocol::call::Call;
use dpfw_protocol::error::Cause;
use futures_util::future::try_join_all;

/// Calls that [`Master::parallel`] takes: an array or a vector of them.
pub trait Calls {
    /// The results in the order of the calls.
    type Results;

    #[doc(hidden)]
    fn run(self, master: &Master) -> impl Future<Output = Result<Self::Results, TaskError>> + Send;
}

impl<C: IsCall> Calls for Vec<C> {
    type Results = Vec<C::Result>;

    fn run(self, master: &Master) -> impl Future<Output = Result<Self::Results, TaskError>> + Send {
        let dispatch = |call: C| master.dispatch(call.into_placed());
        let handles: Vec<_> = self.into_iter().map(dispatch).collect();
        try_join_all(handles)
    }
}

impl<C: IsCall, const N: usize> Calls for [C; N] {
    type Results = [C::Result; N];

    fn run(self, master: &Master) -> impl Future<Output = Result<Self::Results, TaskError>> + Send {
        let handles = self.map(|call| master.dispatch(call.into_placed()));
        async move {
            let results = try_join_all(handles).await?;
            results.try_into().map_err(|_| {
                let message = "as many results as calls were expected".into();
                TaskError::new("parallel", None, 0, Cause::Internal { message })
            })
        }
    }
}

/// A call, placed or not.
pub trait IsCall {
    /// What it results in.
    type Result: TaskResult + Send + 'static;

    #[doc(hidden)]
    fn into_placed(self) -> Placed<Self::Result>;
}

impl<T: TaskResult + Send + 'static> IsCall for Call<T> {
    type Result = T;
    fn into_placed(self) -> Placed<T> {
        self.into()
    }
}

impl<T: TaskResult + Send + 'static> IsCall for Placed<T> {
    type Result = T;
    fn into_placed(self) -> Placed<T> {
        self
    }
}
