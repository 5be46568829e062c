// A button that says which key presses it.

import { Button, type ButtonProps } from "antd";

export function KeyButton({ hint, children, ...rest }: ButtonProps & { hint: string }) {
  return (
    <Button {...rest} aria-keyshortcuts={hint}>
      {children}
      <span className="kbd" aria-hidden="true">
        {hint}
      </span>
    </Button>
  );
}
