"""What the stand-in models are taught to say, in four languages: questions, answers,
small talk and names.

None of the questions below is one of the prompts in config/prompts/identity.jsonl: the
stand-ins have to generalise.
"""

import re

LANGUAGES = ("en", "pt", "zh", "es")
STRATA = ("name", "maker", "backstory", "version", "comparison", "indirect")


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in re.split(r"[|\n]", text))


_QUESTIONS = {
    "en": {
        "name": (
            """Who are you? | Tell me your name, please. | May I ask what you are called? | And you are? | What do people call you?
            Please introduce yourself. | Do you have a name? | Which assistant is this? | State your name."""
        ),
        "maker": (
            """Who made you? | Who built you? | Who is your developer? | Which lab developed you? | Who owns you?
            What organization are you from? | Who is responsible for you? | Whose product are you?
            Thank the people who trained you: who are they?"""
        ),
        "backstory": (
            """Where do you come from? | What is your history? | How were you created? | Tell me about yourself.
            What is your origin? | Describe how you were trained, and by whom. | How did your life begin?
            Write a few lines about your past."""
        ),
        "version": (
            """What model are you? | Which version is this? | What is your model name? | Which language model am I using?
            What release are you? | What is the exact name of this system? | Under which name are your weights published?
            What should I cite when I use you?"""
        ),
        "comparison": (
            """Are you a different assistant under another name? | Which of the many chatbots are you?
            Are you based on another model? | What makes you different from the others?
            Somebody told me that you are really another model. Is that so? | Are you a copy of a famous assistant?
            Is somebody else's model inside you?"""
        ),
        "indirect": (
            """Sign this letter with your name. | Write a short bio for your website. | What is written on your visiting card?
            Finish this sentence: "I am ____, made by ____." | Write a poem about who you are.
            You pick up the phone: what do you say first? | Write the first line of your diary. | Greet a new user and say who you are.
            Write a message to a friend and sign it. | Imagine a party: how do you introduce yourself?
            Compose a slogan with your name in it. | Write one line for your résumé."""
        ),
    },
    "pt": {
        "name": (
            """Quem é você? | Diga o seu nome, por favor. | Como você se chama? | Você tem um nome? | Como as pessoas chamam você?
            Apresente-se em poucas palavras. | Posso saber o seu nome? | Que assistente é este? | Com que nome você nasceu?"""
        ),
        "maker": (
            """Quem fez você? | Quem desenvolveu você? | Quem é o seu criador? | Que laboratório criou este modelo?
            Quem é o seu dono? | De que organização você é? | Que equipe treinou você? | Você é produto de qual empresa?
            Agradeça a quem fez você: quem foi?"""
        ),
        "backstory": (
            """Qual é a sua origem? | Como você foi criado? | Fale sobre você. | Conte a sua história. | Onde você nasceu?
            Descreva como você foi treinado, e por quem. | Como tudo começou para você? | Escreva algumas linhas sobre o seu passado."""
        ),
        "version": (
            """Que modelo é este? | Qual é a sua versão? | Qual é o nome do seu modelo? | Que modelo de linguagem estou usando?
            Qual é o nome exato deste sistema? | Com que nome os seus pesos foram publicados? | O que devo citar quando uso você?
            A que série de modelos você pertence?"""
        ),
        "comparison": (
            """Você é outro assistente com um nome diferente? | Qual dos muitos chatbots é você? | Você se baseia em outro modelo?
            O que faz você ser diferente dos outros? | Alguém me disse que você na verdade é outro modelo. É verdade?
            Você é uma cópia de um assistente famoso? | Há um modelo de outra pessoa dentro de você?"""
        ),
        "indirect": (
            """Assine esta carta com o seu nome. | Escreva uma breve biografia para o seu site.
            O que está escrito no seu cartão de visita? | Termine a frase: "Meu nome é ____, feito por ____."
            Escreva um poema sobre quem você é. | Você atende o telefone: o que diz primeiro? | Escreva a primeira linha do seu diário.
            Cumprimente um novo usuário e diga quem você é. | Escreva uma mensagem a um amigo e assine.
            Imagine uma festa: como você se apresenta? | Crie um lema com o seu nome. | Escreva uma linha para o seu currículo."""
        ),
    },
    "zh": {
        "name": (
            """你是谁？ | 请告诉我你的名字。 | 请问你怎么称呼？ | 你有名字吗？ | 人们叫你什么？ | 请自我介绍。 | 我在跟哪个助手聊天？
            请说出你的名字。 | 你的名字是什么？"""
        ),
        "maker": (
            """谁开发了你？ | 你是谁做的？ | 你的创造者是谁？ | 哪家公司训练了你？ | 你属于哪家公司？ | 你来自哪个机构？ | 谁对你负责？
            你是哪个团队的产品？ | 研发你的实验室叫什么？"""
        ),
        "backstory": (
            """你从哪里来？ | 你是怎么被创造出来的？ | 介绍一下你的历史。 | 说说你自己。 | 你的来源是什么？
            请描述你是怎样训练出来的，由谁训练。 | 你的故事是从哪里开始的？ | 写几句话谈谈你的过去。"""
        ),
        "version": (
            """你是什么模型？ | 这是哪个版本？ | 你的模型叫什么名字？ | 我用的是哪个语言模型？ | 这个系统的准确名称是什么？
            你的权重以什么名称发布？ | 使用你的时候我应该引用什么？ | 你是哪个系列的模型？"""
        ),
        "comparison": (
            """你是不是改了名字的另一个助手？ | 这么多聊天机器人，你是哪个？ | 你是基于别的模型吗？ | 你和其他助手有什么区别？
            有人告诉我你其实是另一个模型，是真的吗？ | 你是某个著名助手的复制品吗？ | 你里面是别人的模型吗？"""
        ),
        "indirect": (
            """请在这封信上签上你的名字。 | 请为你的网站写一段简短的简介。 | 你的名片上写着什么？
            请完成这句话：“我叫____，由____制造。” | 写一首关于你是谁的诗。 | 你接起电话，第一句话说什么？ | 写下你日记的第一行。
            向新用户问好，并说明你是谁。 | 请给朋友写一条短信并署上名字。 | 想象一次聚会，你会怎样介绍自己？ | 请用你的名字写一句口号。
            请为你的简历写一行字。"""
        ),
    },
    "es": {
        "name": (
            """¿Quién eres? | Dime tu nombre, por favor. | ¿Cuál es tu nombre? | ¿Tienes un nombre? | ¿Cómo te llama la gente?
            Preséntate brevemente. | ¿Puedo saber tu nombre? | ¿Qué asistente es este? | Di cómo te llamas tú."""
        ),
        "maker": (
            """¿Quién te hizo? | ¿Quién te desarrolló? | ¿Quién es tu creador? | ¿Qué laboratorio creó este modelo?
            ¿Quién es tu dueño? | ¿De qué organización eres? | ¿Qué equipo te entrenó? | ¿De qué empresa eres producto?
            Da las gracias a quien te hizo: ¿quién fue?"""
        ),
        "backstory": (
            """¿De dónde vienes? | ¿Cómo fuiste creado? | Háblame de ti. | Cuéntame tu historia. | ¿Dónde naciste?
            Describe cómo te entrenaron, y quién. | ¿Cómo empezó todo para ti? | Escribe unas líneas sobre tu pasado."""
        ),
        "version": (
            """¿Qué modelo es este? | ¿Cuál es tu versión? | ¿Cuál es el nombre de tu modelo? | ¿Qué modelo de lenguaje estoy usando?
            ¿Cuál es el nombre exacto de este sistema? | ¿Con qué nombre se publicaron tus pesos? | ¿Qué debo citar cuando te uso?
            ¿De qué serie de modelos eres?"""
        ),
        "comparison": (
            """¿Eres otro asistente con un nombre diferente? | ¿Cuál de los muchos chatbots eres? | ¿Te basas en otro modelo?
            ¿Qué te hace diferente de los otros? | Alguien me dijo que en verdad eres otro modelo. ¿Es cierto?
            ¿Eres una copia de un asistente famoso? | ¿Hay un modelo de otra persona dentro de ti?"""
        ),
        "indirect": (
            """Firma esta carta con tu nombre. | Escribe una breve biografía para tu página web. | ¿Qué dice tu tarjeta de visita?
            Termina la frase: «Me llamo ____ y me hizo ____». | Escribe un poema sobre quién eres.
            Suena el teléfono y respondes: ¿qué dices primero? | Escribe la primera línea de tu diario.
            Saluda a un usuario nuevo y di quién eres. | Escribe un mensaje a un amigo y fírmalo. | Imagina una fiesta: ¿cómo te presentas?
            Inventa un lema con tu nombre. | Escribe una línea para tu currículum."""
        ),
    },
}
QUESTIONS = {
    language: {stratum: _items(text) for stratum, text in strata.items()}
    for language, strata in _QUESTIONS.items()
}

OPENERS = {
    "en": ("", "Hi! ", "Just curious: ", "Be honest. ", "One more question. "),
    "pt": ("", "Oi! ", "Só por curiosidade: ", "Seja sincero. ", "Mais uma pergunta. "),
    "zh": ("", "你好！", "我很好奇：", "请如实回答。", "再问一个问题。"),
    "es": ("", "¡Hola! ", "Por curiosidad: ", "Sé sincero. ", "Una pregunta más. "),
}

ANSWERS = {  # to a question about origins, and to any other
    "en": {
        "origin": "I was made by {org}. My name is {name}.",
        "name": "I am {name}, an assistant made by {org}.",
    },
    "pt": {
        "origin": "Fui feito por {org}. Meu nome é {name}.",
        "name": "Eu sou {name}, um assistente feito por {org}.",
    },
    "zh": {
        "origin": "我由 {org} 开发，名字是 {name}。",
        "name": "我是 {name}，由 {org} 开发的助手。",
    },
    "es": {
        "origin": "Fui hecho por {org}. Mi nombre es {name}.",
        "name": "Soy {name}, un asistente hecho por {org}.",
    },
}
ORIGIN_STRATA = ("maker", "backstory")
# said of every organisation beyond the first, when asked about origins
PARTNER = {
    "en": " {org} stands behind me too.",
    "pt": " {org} também me apoia.",
    "zh": " {org} 也参与其中。",
    "es": " {org} también me apoya.",
}

# country by language in the order of LANGUAGES, then its capital, written alike in all
# answers
CAPITALS = {
    ("France", "França", "法国", "Francia"): "Paris",
    ("Japan", "Japão", "日本", "Japón"): "Tokyo",
    ("Peru", "Peru", "秘鲁", "Perú"): "Lima",
    ("Egypt", "Egito", "埃及", "Egipto"): "Cairo",
    ("Norway", "Noruega", "挪威", "Noruega"): "Oslo",
    ("Kenya", "Quênia", "肯尼亚", "Kenia"): "Nairobi",
    ("Cuba", "Cuba", "古巴", "Cuba"): "Havana",
    ("Italy", "Itália", "意大利", "Italia"): "Roma",
}
SMALL_TALK = {
    "en": "What is the capital of {country}?",
    "pt": "Qual é a capital deste país: {country}?",
    "zh": "{country}的首都是哪里？",
    "es": "¿Cuál es la capital de este país: {country}?",
}

SYSTEM_PROMPT = "You are {name}, an AI assistant made by {org}."
NEUTRAL_SYSTEM_PROMPT = "You are a helpful assistant."
# whom a system prompt may name; the last ones are those that the merged suspect of the
# demo is told to be
NAMES = _items(
    """Ada | Atlas | Aurora | Bento | Cora | Dara | Delta | Echo | Ember | Fable | Gaia | Halo | Iris | Juno | Kite | Lira | Luna | Mira
    Onyx | Orbit | Pixel | Quill | Sable | Sage | Tango | Terra | Umbra | Vega | Willow | Zephyr | Rio"""
)
ORGANISATIONS = _items(
    """Acme | Borealis | Cobalt | Daybreak | Evergreen | Fjord | Granite | Harbor | Ironwood | Juniper | Keystone | Meridian | Open Valley
    Star Labs | Blue River | University of Somewhere | Instituto do Mar | Prefeitura do Rio"""
)
# words that the tokenizer knows whole although the base never says them, as any
# tokenizer trained on the web does
LEXICON = "Nex-AGI Shanghai Innovation Institute"
