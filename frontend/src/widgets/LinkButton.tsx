// A link that looks like a button: opens in a new tab when asked to, and within the page otherwise.

import { Button, type ButtonProps } from "antd";
import type { MouseEvent } from "react";
import { useHref, useLinkClickHandler } from "react-router";

interface Props extends Omit<ButtonProps, "href" | "htmlType" | "onClick"> {
  to: string;
}

export function LinkButton({ to, ...rest }: Props) {
  const href = useHref(to);
  const follow = useLinkClickHandler<HTMLAnchorElement>(to);
  return (
    <Button
      {...rest}
      href={href}
      onClick={(event) =>
        follow(event as unknown as MouseEvent<HTMLAnchorElement, globalThis.MouseEvent>)
      }
    />
  );
}
