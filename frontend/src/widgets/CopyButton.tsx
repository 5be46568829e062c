// Copies a text and says so. Falls back to a selection where the clipboard API is closed (plain http).

import { CheckOutlined, CopyOutlined } from "./icons";
import { Button, Tooltip, type ButtonProps } from "antd";
import { useEffect, useState } from "react";
import { useWords } from "../i18n";

interface Props extends Pick<ButtonProps, "size" | "type"> {
  text: string;
  label?: string;
  /** Show the label as text beside the icon. */
  isWide?: boolean;
}

export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function CopyButton({ text: content, label, isWide = false, size, type = "text" }: Props) {
  const { text } = useWords();
  const [isCopied, setIsCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setIsCopied(false), 1600);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const name = isCopied ? text.copied : (label ?? text.copy);
  const button = (
    <Button
      size={size}
      type={type}
      icon={isCopied ? <CheckOutlined /> : <CopyOutlined />}
      aria-label={name}
      onClick={() => void copyText(content).then(() => setIsCopied(true))}
    >
      {isWide ? name : undefined}
    </Button>
  );
  return isWide ? button : <Tooltip title={name}>{button}</Tooltip>;
}
