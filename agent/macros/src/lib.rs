//! `#[remote]`: leaves a function as it is and adds a type of the same name whose fields are its arguments, so that
//! `f(x)` runs here and `context.call(f { x })` runs there.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, Pat, PathArguments, ReturnType, Token, Type, parse_macro_input};

/// Makes a function callable in other contexts.
///
/// The function may take `&Context` first: the context it runs in. Its other arguments and its result are types that
/// serialise; it may return a `Result` whose error serialises or is a `std::io::Error`.
///
/// `#[remote(crate = path)]` names the crate to refer to, where it is not `offshoot`. `#[remote(quick)]` says that the
/// function never waits for anything: it runs on the thread that serves the whole context, which saves a switch of
/// threads, and would hold up everything else if it did wait. `#[remote(anyone)]` lets others call it than the ancestors of the
/// context it runs in: contexts below, and those to which the root has opened a path. It must treat its arguments as
/// a stranger's.
#[proc_macro_attribute]
pub fn remote(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let settings = parse_macro_input!(attribute with settings);
    let function = parse_macro_input!(item as ItemFn);
    expand(&settings, &function).unwrap_or_else(Error::into_compile_error).into()
}

struct Settings {
    krate: Tokens,
    quick: bool,
    anyone: bool,
}

fn settings(input: syn::parse::ParseStream<'_>) -> syn::Result<Settings> {
    let mut settings = Settings { krate: quote!(::offshoot), quick: false, anyone: false };
    while !input.is_empty() {
        if input.peek(Token![crate]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            let path = input.call(syn::Path::parse_mod_style)?;
            settings.krate = quote!(#path);
        } else {
            let word: syn::Ident = input.parse()?;
            match word.to_string().as_str() {
                "quick" => settings.quick = true,
                "anyone" => settings.anyone = true,
                _ => return Err(Error::new(word.span(), "expected `crate = path`, `quick` or `anyone`")),
            }
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(settings)
}

struct Argument {
    name: syn::Ident,
    ty: Type,
}

fn expand(settings: &Settings, function: &ItemFn) -> syn::Result<Tokens> {
    let Settings { krate, quick, anyone } = settings;
    let signature = &function.sig;
    let refuse = |span: &dyn quote::ToTokens, text: &str| Err(Error::new_spanned(span, text));
    if let Some(asyncness) = &signature.asyncness {
        return refuse(
            asyncness,
            "a remote function cannot be async: an agent has no runtime; start it on a thread",
        );
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a remote function cannot be generic: it is found by its name alone",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a remote function has a fixed list of arguments");
    }
    let mut takes_context = false;
    let mut arguments = Vec::new();
    for (index, input) in signature.inputs.iter().enumerate() {
        let FnArg::Typed(input) = input else {
            return refuse(input, "a remote function cannot be a method: its `self` would have to travel");
        };
        if let Type::Reference(reference) = &*input.ty {
            if index == 0 && is_context(&reference.elem) && reference.mutability.is_none() {
                if settings.quick {
                    return refuse(
                        &input.ty,
                        "a quick function cannot use its context: it runs while that is locked",
                    );
                }
                takes_context = true;
                continue;
            }
            return refuse(
                &input.ty,
                "an argument cannot be a reference: it travels; use String, Vec or PathBuf",
            );
        }
        let Pat::Ident(name) = &*input.pat else {
            return refuse(&input.pat, "an argument needs a plain name: it becomes a field");
        };
        arguments.push(Argument { name: name.ident.clone(), ty: (*input.ty).clone() });
    }

    let (value, error) = outcome(krate, &signature.output);
    let falls = is_result(&signature.output);
    let (name, visibility) = (&signature.ident, &function.vis);
    let docs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let fields = arguments.iter().map(|Argument { name, ty }| {
        let doc = format!("The argument `{name}`.");
        quote!(#[doc = #doc] pub #name: #ty)
    });
    let given = arguments.iter().map(|Argument { name, .. }| quote!(self.#name));
    let context = takes_context.then(|| quote!(cx,));
    let run = quote!(#name(#context #(#given),*));
    let run = if falls { run } else { quote!(::core::result::Result::Ok(#run)) };
    let table = format_ident!("__OFFSHOOT_{}", name);
    let serde = format!("{krate}::macro_support::serde").replace(' ', "");
    let support = quote!(#krate::macro_support);
    let (encode, decode) = if falls {
        (
            quote!(use #support::{AsIoError as _, AsItself as _}; (&#support::ErrorForm::<Self::Error>::new()).encode(error)),
            quote!(use #support::{AsIoError as _, AsItself as _}; (&#support::ErrorForm::<Self::Error>::new()).decode(bytes)),
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
    Ok(quote! {
        #function

        #(#docs)*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Debug, #support::serde::Serialize, #support::serde::Deserialize)]
        #[serde(crate = #serde)]
        #visibility struct #name { #(#fields),* }

        impl #krate::Remote for #name {
            type Value = #value;
            type Error = #error;
            const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));
            #[allow(clippy::unit_arg)]
            fn run(self, cx: &#krate::Context) -> ::core::result::Result<Self::Value, Self::Error> {
                let _ = cx;
                #run
            }
            fn encode_error(
                error: &Self::Error,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, #support::CodecError> {
                #encode
            }
            fn decode_error(bytes: &[u8]) -> ::core::result::Result<Self::Error, #support::CodecError> {
                #decode
            }
        }

        #[allow(non_upper_case_globals)]
        #[#support::linkme::distributed_slice(#support::FUNCTIONS)]
        #[linkme(crate = #support::linkme)]
        static #table: #support::Function = #support::Function {
            name: <#name as #krate::Remote>::NAME,
            quick: #quick,
            anyone: #anyone,
            run: #support::run_encoded::<#name>,
        };
    })
}

fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Context"))
}

fn is_result(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else { return false };
    let Type::Path(path) = &**ty else { return false };
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
