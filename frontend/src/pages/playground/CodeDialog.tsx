// The present call as curl, Python and JavaScript.

import { Modal, Select, Tabs } from "antd";
import { useState } from "react";
import type { ChatSettings } from "../../api/shapes";
import { useWords } from "../../i18n";
import { asCurl, asJavaScript, asPython } from "../../stores/chatCode";
import { CodeBlock } from "../../widgets/CodeBlock";

interface Props {
  isOpen: boolean;
  onClose: () => void;
  prompt: string;
  settings: ChatSettings;
}

export function CodeDialog({ isOpen, onClose, prompt, settings }: Props) {
  const { text } = useWords();
  const words = text.playground;
  const [chosen, setChosen] = useState("");
  const model = settings.models.includes(chosen) ? chosen : (settings.models[0] ?? "");
  const call = {
    origin: location.origin,
    model,
    prompt: prompt || (words.tries[0] ?? ""),
    settings,
  };
  const faces = [
    { key: "curl", label: "curl", code: asCurl(call) },
    { key: "python", label: "Python", code: asPython(call) },
    { key: "javascript", label: "JavaScript", code: asJavaScript(call) },
  ];
  return (
    <Modal
      open={isOpen}
      title={words.codeTitle}
      footer={null}
      onCancel={onClose}
      width={720}
      destroyOnHidden
    >
      <p className="muted">{words.codeText}</p>
      {settings.models.length > 1 && (
        <Select
          aria-label={words.models}
          style={{ width: "100%" }}
          value={model}
          onChange={setChosen}
          options={settings.models.map((value) => ({ value, label: value }))}
        />
      )}
      <Tabs
        items={faces.map(({ key, label, code }) => ({
          key,
          label,
          children: <CodeBlock code={code} label={label} />,
        }))}
      />
    </Modal>
  );
}
