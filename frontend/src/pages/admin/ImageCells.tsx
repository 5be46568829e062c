// What a row of the images says and does: the name, whether it is offered, on which nodes it is, its deeds.

import { App, Button, Space } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import { nodeQueries } from "../../api/nodeQueries";
import type { RegisteredImage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";

export const listTools = (image: RegisteredImage): string[] =>
  Object.entries(image.tools).map(([name, port]) => `${name}=${port}`);

export function Offer({ image }: { image: RegisteredImage }) {
  const { text } = useWords();
  return (
    <StateTag
      state={image.is_active ? "ready" : "stopped"}
      word={image.is_active ? text.images.offered : text.images.retired}
    />
  );
}

export function ImageName({ image, isNarrow }: { image: RegisteredImage; isNarrow: boolean }) {
  return (
    <div className={isNarrow ? "break" : "words"}>
      <b>{image.title}</b> <span className="mono muted">{image.name}</span>
      <div className="mono muted small" title={image.reference}>
        {image.reference.replace(/([0-9a-f]{12})[0-9a-f]{52}$/, "$1\u2026")}
        <CopyButton text={image.reference} size="small" />
      </div>
    </div>
  );
}

export function Spread({ image }: { image: RegisteredImage }) {
  const { text } = useWords();
  const words = text.images;
  if (image.nodes.length === 0) return <span className="muted">{words.noNodes}</span>;
  return image.nodes.map((node) => {
    if (node.has_it === null) {
      return (
        <div key={node.name}>
          <StateTag state="queued" word={words.hasMaybe(node.name)} />
        </div>
      );
    }
    return (
      <div key={node.name}>
        <StateTag
          state={node.has_it ? "ready" : "failed"}
          word={node.has_it ? words.has(node.name) : words.hasNot(node.name)}
        />
      </div>
    );
  });
}

export function ImageActions({
  image,
  onChange,
}: {
  image: RegisteredImage;
  onChange: () => void;
}) {
  const { text } = useWords();
  const words = text.images;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const refresh = async () => {
    await cache.invalidateQueries({ queryKey: nodeQueries.images().queryKey });
    await cache.invalidateQueries({ queryKey: ["machines"] });
  };
  const retire = () =>
    modal.confirm({
      title: words.retireTitle(image.name),
      content: words.retireText(image.num_machines),
      okText: words.retire,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await post(`/api/machine-images/${image.name}/retire/`);
          await refresh();
        }),
    });
  const label = (verb: string) => `${verb}: ${image.name}`;
  return (
    <Space>
      <Button
        size="small"
        aria-label={label(image.is_active ? words.change : words.offer)}
        onClick={onChange}
      >
        {image.is_active ? words.change : words.offer}
      </Button>
      {image.is_active && (
        <Button size="small" danger type="text" aria-label={label(words.retire)} onClick={retire}>
          {words.retire}
        </Button>
      )}
    </Space>
  );
}
