//! The attribute `#[remote]`, which adds a type with the name of the function and with its
//! arguments as fields: `f(x)` runs the function here, and `context.call(f { x })` runs it in
//! another context.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Pat, PathArguments, ReturnType, Token, Type, parse_macro_input};

/// Makes a function callable in other contexts.
///
/// The function may take `&Context` as its first argument: the context that it runs in. All other
/// arguments and the result are types that serialise; the error of a `Result` serialises or is a
/// `std::io::Error`. An `async` function runs on a thread of its own without a runtime: it can
/// await replies, receivers and selects, but nothing that needs a reactor.
///
/// Options in brackets, separated by commas:
///
/// * `quick`: runs on the thread that serves the whole context, which saves a thread switch. The
///   function must not wait for anything: all other work of the context waits for it.
/// * `serial`: one call of the function at a time in a context, in the order in which the calls
///   arrived.
/// * `shared`: calls with the same arguments that arrive while one runs get its outcome.
/// * `no_reply`: callers are answered before the function runs, and its failure is logged. It
///   returns `()` or a `Result<(), _>`.
/// * `flatten`: the error is sent as its text and the texts of its sources, for errors that do not
///   serialise.
/// * `policy = P`: the contexts that may call the function, in addition to its own. `ancestors` is
///   the default; the others are `parent`, `descendants`, `children`, and `anyone` for every
///   context with a route to this one: those above and below, and those to which the root has
///   opened a path. A function that more than its ancestors may call must not trust its arguments.
/// * `crate = path`: the path of the crate, if it is not `offshoot`.
#[proc_macro_attribute]
pub fn remote(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let settings = parse_macro_input!(attribute with settings);
    let function = parse_macro_input!(item as ItemFn);
    expand(&settings, &function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// The words for the thread and the order in which a function runs.
const MODES: [&str; 3] = ["quick", "serial", "shared"];

struct Settings {
    krate: Tokens,
    mode: syn::Ident,
    policy: syn::Ident,
    no_reply: Option<syn::Ident>,
    flatten: bool,
}

const EXPECTED: &str =
    "expected `quick`, `serial`, `shared`, `no_reply`, `flatten`, `policy = ...` or `crate = path`";

fn settings(input: syn::parse::ParseStream<'_>) -> syn::Result<Settings> {
    let mut settings = Settings {
        krate: quote!(::offshoot),
        mode: format_ident!("concurrent"),
        policy: format_ident!("Ancestors"),
        no_reply: None,
        flatten: false,
    };
    while !input.is_empty() {
        if input.peek(Token![crate]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            let path = input.call(syn::Path::parse_mod_style)?;
            settings.krate = quote!(#path);
        } else {
            let word: syn::Ident = input
                .parse()
                .map_err(|error| Error::new(error.span(), EXPECTED))?;
            match word.to_string().as_str() {
                name if MODES.contains(&name) => {
                    if settings.mode != "concurrent" {
                        let text =
                            format!("a function cannot be both `{}` and `{word}`", settings.mode);
                        return Err(Error::new(word.span(), text));
                    }
                    settings.mode = word;
                }
                "no_reply" => settings.no_reply = Some(word),
                "flatten" => settings.flatten = true,
                "policy" => {
                    input.parse::<Token![=]>()?;
                    settings.policy = policy(&input.parse()?)?;
                }
                _ => return Err(Error::new(word.span(), EXPECTED)),
            }
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(settings)
}

fn policy(word: &syn::Ident) -> syn::Result<syn::Ident> {
    let name = match word.to_string().as_str() {
        "ancestors" => "Ancestors",
        "parent" => "Parent",
        "descendants" => "Descendants",
        "children" => "Children",
        "anyone" => "Anyone",
        _ => {
            let text = "expected `ancestors`, `parent`, `descendants`, `children` or `anyone`";
            return Err(Error::new(word.span(), text));
        }
    };
    Ok(syn::Ident::new(name, word.span()))
}

struct Argument {
    name: syn::Ident,
    ty: Type,
}

/// Returns the arguments, and true if a context comes first.
fn arguments(settings: &Settings, function: &ItemFn) -> syn::Result<(bool, Vec<Argument>)> {
    let refuse = |span: &dyn quote::ToTokens, text: &str| Err(Error::new_spanned(span, text));
    let mut takes_context = false;
    let mut arguments = Vec::new();
    for (index, input) in function.sig.inputs.iter().enumerate() {
        let FnArg::Typed(input) = input else {
            return refuse(
                input,
                "a remote function cannot be a method: `self` cannot be sent to another context",
            );
        };
        if let Type::Reference(reference) = &*input.ty {
            if index == 0 && is_context(&reference.elem) && reference.mutability.is_none() {
                if settings.mode == "quick" {
                    return refuse(
                        &input.ty,
                        "a quick function cannot take its context, which is locked while it runs: remove `quick`, or keep its state in a static",
                    );
                }
                takes_context = true;
                continue;
            }
            return refuse(
                &input.ty,
                "an argument cannot be a reference, because it is sent to another process: use String, Vec or PathBuf (a `&Context` can only be the first argument)",
            );
        }
        if matches!(&*input.ty, Type::ImplTrait(_)) {
            return refuse(
                &input.ty,
                "a remote function cannot be generic: it is looked up by its name alone",
            );
        }
        let Pat::Ident(name) = &*input.pat else {
            return refuse(
                &input.pat,
                "an argument needs a plain name: it becomes a field",
            );
        };
        arguments.push(Argument {
            name: name.ident.clone(),
            ty: (*input.ty).clone(),
        });
    }
    Ok((takes_context, arguments))
}

fn check(settings: &Settings, function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    let refuse = |span: &dyn quote::ToTokens, text: &str| Err(Error::new_spanned(span, text));
    if let Some(asyncness) = signature.asyncness.filter(|_| settings.mode == "quick") {
        return refuse(
            &asyncness,
            "a quick function cannot be async: it must not wait for anything",
        );
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a remote function cannot be generic: it is looked up by its name alone",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a remote function has a fixed list of arguments");
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && matches!(&**ty, Type::Reference(_))
    {
        return refuse(
            ty,
            "a result cannot be a reference, because it is sent to another process: use String or Vec",
        );
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && matches!(&**ty, Type::ImplTrait(_))
    {
        return refuse(
            ty,
            "a result cannot be `impl Trait`: it is sent to another process, and needs a named type that serialises",
        );
    }
    if settings.flatten && !is_result(&signature.output) {
        return refuse(
            &signature.ident,
            "`flatten` needs a function that returns a `Result`",
        );
    }
    Ok(())
}

fn expand(settings: &Settings, function: &ItemFn) -> syn::Result<Tokens> {
    let Settings {
        krate,
        mode,
        policy,
        no_reply,
        flatten,
    } = settings;
    check(settings, function)?;
    let (takes_context, arguments) = arguments(settings, function)?;
    let signature = &function.sig;
    let support = quote!(#krate::macro_support);
    let mode = match mode.to_string().as_str() {
        "shared" => syn::Ident::new("coalesced", mode.span()),
        _ => mode.clone(),
    };
    let (value, error) = outcome(krate, &signature.output);
    let falls = is_result(&signature.output);
    let error = if *flatten {
        quote!(#support::ErrorText)
    } else {
        error
    };
    let (name, visibility) = (&signature.ident, &function.vis);
    let docs = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"));
    let fields = arguments.iter().map(|Argument { name, ty }| {
        let doc = format!("The argument `{name}`.");
        quote!(#[doc = #doc] pub #name: #ty)
    });
    let given = arguments
        .iter()
        .map(|Argument { name, .. }| quote!(self.#name));
    let context = takes_context.then(|| quote!(cx,));
    let run = quote!(#name(#context #(#given),*));
    let run = if signature.asyncness.is_some() {
        quote!(#support::block_on(#run))
    } else {
        run
    };
    let run = match (falls, flatten) {
        (false, _) => quote!(::core::result::Result::Ok(#run)),
        (true, false) => run,
        (true, true) => quote! {
            #run.map_err(|error| {
                #[allow(unused_imports)]
                use #support::{FlatBox as _, FlatError as _, FlatLocalBox as _, FlatText as _};
                (&&&&#support::Flat(&error)).flatten()
            })
        },
    };
    let is_stock = krate.to_string() == "crate";
    let runner = format_ident!(
        "{}",
        match mode == "quick" {
            true if is_stock => "run_own",
            true => "run_encoded_locked",
            false => "run_encoded",
        }
    );
    let table = format_ident!("__OFFSHOOT_{}", name);
    let serde = format!("{krate}::macro_support::serde").replace(' ', "");
    let text = text_of(function);
    let no_reply = match no_reply {
        // Callers that are answered before the function runs can get no value of it.
        Some(word) => quote_spanned!(word.span()=> {
            const fn answered_before_it_runs<T: #support::Nothing>() -> bool { true }
            answered_before_it_runs::<#value>()
        }),
        None => quote!(false),
    };
    let forms = quote!(
        #[allow(unused_imports)]
        use #support::{AsIoError as _, AsItself as _, CannotTravel as _, HasNoText as _, HasText as _};
    );
    let span = match &signature.output {
        ReturnType::Type(_, ty) => ty.span(),
        ReturnType::Default => signature.ident.span(),
    };
    // Its errors would count as values, and a chain would continue after them.
    let hidden_result = match &signature.output {
        ReturnType::Type(_, ty) if !falls => quote_spanned!(ty.span()=>
            const _: () = {
                #[allow(unused_imports)]
                use #support::IsNoResult as _;
                ::core::assert!(
                    !#support::Probe::<#ty>::IS_RESULT,
                    "this type is a Result under another name: write `Result<VALUE, ERROR>`, or an alias called `Result` with its types"
                );
            };
        ),
        _ => Tokens::new(),
    };
    let bound = if mode == "quick" {
        refuse_bound(&support, function)
    } else {
        Tokens::new()
    };
    let (encode, decode) = if falls {
        (
            quote_spanned!(span=>
                #forms
                let bytes = (&&&#support::ErrorForm::<Self::Error>::new()).encode(error)?;
                ::core::result::Result::Ok(((&&#support::ErrorForm::<Self::Error>::new()).text(error), bytes))
            ),
            quote_spanned!(span=> #forms (&&&#support::ErrorForm::<Self::Error>::new()).decode(bytes)),
        )
    } else {
        (
            quote!(match *error {}),
            quote!({
                let _ = bytes;
                ::core::result::Result::Err(#support::CodecError("a function that cannot fail sent an error".into()))
            }),
        )
    };
    let shapes = format_ident!("__OFFSHOOT_SHAPE_{}", name);
    let shape = shape_of(&support, &shapes, &arguments, (&value, &error));
    // The functions of the stock agent are those of this build, so they need no shapes.
    let (shape, shape_of) = match is_stock {
        true => (Tokens::new(), Tokens::new()),
        false => (
            shape,
            quote!(const SHAPE: ::core::option::Option<&'static dyn #support::Described> = ::core::option::Option::Some(&#shapes);),
        ),
    };
    Ok(quote! {
        #function

        #hidden_result
        #bound

        #(#docs)*
        #[allow(non_camel_case_types)]
        #[derive(#support::serde::Serialize, #support::serde::Deserialize)]
        #[serde(crate = #serde)]
        #visibility struct #name { #(#fields),* }

        #[diagnostic::do_not_recommend]
        impl #krate::Remote for #name {
            type Value = #value;
            type Error = #error;
            const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));
            const SIGNATURE: u64 = #support::signature(<Self as #krate::Remote>::NAME, #text);
            const NO_REPLY: bool = { #no_reply };
            #shape_of
            #[allow(clippy::all)]
            fn run(self, cx: &#krate::Context) -> ::core::result::Result<Self::Value, Self::Error> {
                let _ = cx;
                #run
            }
            #[allow(clippy::all)]
            fn encode_error(
                error: &Self::Error,
            ) -> ::core::result::Result<(::std::string::String, ::std::vec::Vec<u8>), #support::CodecError> {
                #encode
            }
            #[allow(clippy::all)]
            fn decode_error(bytes: &[u8]) -> ::core::result::Result<Self::Error, #support::CodecError> {
                #decode
            }
        }

        #shape

        #[allow(non_upper_case_globals)]
        #[#support::linkme::distributed_slice(#support::FUNCTIONS)]
        #[linkme(crate = #support::linkme)]
        static #table: #support::Function = #support::Function {
            name: <#name as #krate::Remote>::NAME,
            signature: <#name as #krate::Remote>::SIGNATURE,
            shape: <#name as #krate::Remote>::SHAPE,
            policy: #support::Policy::#policy,
            no_reply: <#name as #krate::Remote>::NO_REPLY,
            mode: #support::#mode,
            run: #support::#runner::<#name>,
        };
    })
}

/// Returns the static with the shapes of a function's types.
fn shape_of(
    support: &Tokens,
    shapes: &syn::Ident,
    arguments: &[Argument],
    (value, error): (&Tokens, &Tokens),
) -> Tokens {
    let seen = arguments.iter().map(|Argument { name, ty }| {
        let what = format!("the argument `{name}`");
        let mut messages = Vec::new();
        messages_of(ty, &mut messages);
        quote! {
            let shape = (&&#support::OfType::<#ty>::new()).add_to(shape, #what);
            #(let shape = (&&#support::OfType::<#messages>::new()).add_to(shape, #what);)*
        }
    });
    quote! {
        #[allow(non_upper_case_globals)]
        static #shapes: #support::LazyShape = #support::LazyShape::new(|| {
            #[allow(unused_imports)]
            use #support::{IsSeen as _, IsUnseen as _};
            let shape = #support::Shape::default();
            #(#seen)*
            let shape = (&&#support::OfType::<#value>::new()).add_to(shape, "the result");
            (&&#support::OfType::<#error>::new()).add_to(shape, "the error")
        });
    }
}

/// Collects the types of the messages of each sender and receiver in `ty`.
fn messages_of<'a>(ty: &'a Type, found: &mut Vec<&'a Type>) {
    let mut ends = vec![ty];
    within(ty, &mut ends);
    for end in ends {
        if let Type::Path(path) = end
            && let Some(last) = path.path.segments.last()
            && ["Sender", "Receiver"].iter().any(|name| last.ident == name)
            && let PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(syn::GenericArgument::Type(message)) = arguments.args.first()
        {
            found.push(message);
        }
    }
}

/// Returns assertions that a quick function neither takes nor returns types that need the node,
/// which is locked while it runs: the types of the arguments and the result under any name, and the
/// types inside them that are written with such a name.
fn refuse_bound(support: &Tokens, function: &ItemFn) -> Tokens {
    let mut types = Vec::new();
    for input in &function.sig.inputs {
        if let FnArg::Typed(input) = input {
            types.push(&*input.ty);
            within(&input.ty, &mut types);
        }
    }
    if let ReturnType::Type(_, ty) = &function.sig.output {
        types.push(ty);
        within(ty, &mut types);
    }
    let refused = types.into_iter().map(|ty| {
        quote_spanned!(ty.span()=>
            const _: () = {
                #[allow(unused_imports)]
                use #support::IsNotBound as _;
                ::core::assert!(
                    !#support::Probe::<#ty>::IS_BOUND,
                    "a quick function can neither take nor return this type, because its context is locked while it runs: remove `quick`"
                );
            };
        )
    });
    quote!(#(#refused)*)
}

/// Collects the types inside `ty` that have the name of a type that is bound to a process.
fn within<'a>(ty: &'a Type, found: &mut Vec<&'a Type>) {
    const BOUND: [&str; 5] = ["Context", "Reader", "Receiver", "Sender", "Writer"];
    let mut look = |inner: &'a Type| {
        let last = match inner {
            Type::Path(path) => path.path.segments.last(),
            _ => None,
        };
        if last.is_some_and(|last| BOUND.iter().any(|name| last.ident == name)) {
            found.push(inner);
        }
        within(inner, found);
    };
    match ty {
        Type::Path(path) => {
            for segment in &path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                    for argument in &arguments.args {
                        if let syn::GenericArgument::Type(inner) = argument {
                            look(inner);
                        }
                    }
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter().for_each(look),
        Type::Array(array) => look(&array.elem),
        Type::Paren(inner) => look(&inner.elem),
        Type::Group(inner) => look(&inner.elem),
        _ => {}
    }
}

/// Returns the text of a signature, by which two builds are compared: names and types of the
/// arguments, and the result. Spaces are left out, because their number carries no meaning.
fn text_of(function: &ItemFn) -> String {
    let (inputs, output) = (&function.sig.inputs, &function.sig.output);
    quote!((#inputs) #output)
        .to_string()
        .split_whitespace()
        .collect()
}

fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Context"))
}

fn is_result(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else {
        return false;
    };
    let mut ty = &**ty;
    // A type that a macro has passed on stands in an invisible group.
    while let Type::Group(group) = ty {
        ty = &group.elem;
    }
    let Type::Path(path) = ty else {
        return false;
    };
    path.path.segments.last().is_some_and(|last| {
        last.ident == "Result" && matches!(last.arguments, PathArguments::AngleBracketed(_))
    })
}

fn outcome(krate: &Tokens, output: &ReturnType) -> (Tokens, Tokens) {
    match output {
        ReturnType::Default => (quote!(()), quote!(::core::convert::Infallible)),
        ReturnType::Type(_, ty) if is_result(output) => {
            let types = quote!(<#ty as #krate::macro_support::ResultTypes>);
            (quote!(#types::Value), quote!(#types::Error))
        }
        ReturnType::Type(_, ty) => (quote!(#ty), quote!(::core::convert::Infallible)),
    }
}
