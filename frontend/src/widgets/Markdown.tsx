// Markdown from people and models. Raw HTML is never rendered, and links leave without a referrer.

import ReactMarkdown, { defaultUrlTransform, type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";
import { memo } from "react";

export interface MarkdownProps {
  text: string;
  /** Where an address of the text leads; empty is nowhere. Pictures are shown only where this is given. */
  resolve?: (url: string) => string;
}

const COMPONENTS: Components = {
  a: ({ href, children }) =>
    href ? (
      <a
        href={href}
        target={href.startsWith("#") ? undefined : "_blank"}
        rel="noopener noreferrer nofollow"
      >
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  table: ({ children }) => (
    <div className="table-scroll">
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
  // A picture from elsewhere would tell its server who reads; only its words are shown.
  img: ({ src, alt }) => (src ? <img src={src} alt={alt} loading="lazy" /> : <em>{alt}</em>),
};

export const Markdown = memo(function Markdown({ text, resolve }: MarkdownProps) {
  const transform = (url: string, key: string) => {
    const resolved = resolve ? resolve(url) : url;
    if (key === "src" && (!resolve || resolved === url)) return "";
    return defaultUrlTransform(resolved);
  };
  return (
    <div className="markdown">
      <ReactMarkdown
        remarkPlugins={[remarkGfm]}
        rehypePlugins={[[rehypeHighlight, { detect: false }]]}
        components={COMPONENTS}
        urlTransform={transform}
      >
        {text}
      </ReactMarkdown>
    </div>
  );
});
